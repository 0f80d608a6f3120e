// @ts-check
// The rows of tables: how a line is split into cells, and which line stands below the head.

/** @typedef {"" | "end" | "center"} Align */

const DELIMITER_ROW = /^(?:[|:][-|: \t]+|-[-|:][-|: \t]*)$/;
const COLUMN = /^:?-+:?$/;

/** @param {string} line trimmed @returns {string[]} its cells, trimmed; "\|" is no border */
export function splitRow(line) {
  const cells = [];
  let cell = "";
  let last = 0;
  let isEscaped = false;
  for (let at = 0; at < line.length; at += 1) {
    if (line[at] === "|" && isEscaped) {
      cell += line.slice(last, at - 1);
      last = at;
    } else if (line[at] === "|") {
      cells.push(cell + line.slice(last, at));
      cell = "";
      last = at + 1;
    }
    isEscaped = line[at] === "\\";
  }
  cells.push(cell + line.slice(last));
  if (cells[0] === "") cells.shift();
  if (cells.at(-1) === "") cells.pop();
  return cells.map((one) => one.trim());
}

/** @param {string} line @returns {Align[] | null} the alignment of each column, if it is the row below a head */
export function delimiterRow(line) {
  const row = line.trimEnd();
  if (!DELIMITER_ROW.test(row)) return null;
  const columns = row.split("|").map((column) => column.trim());
  if (columns[0] === "") columns.shift();
  if (columns.at(-1) === "") columns.pop();
  if (!columns.every((column) => COLUMN.test(column))) return null;
  return columns.map((column) => (column.endsWith(":") ? (column.startsWith(":") ? "center" : "end") : ""));
}
