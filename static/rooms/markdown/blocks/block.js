// @ts-check
// The blocks that the parser makes of lines.

/** @typedef {import("./table_rules.js").Align} Align */
/** @typedef {"root" | "quote" | "list" | "item"} Container */
/** @typedef {Container | "paragraph" | "heading" | "fence" | "code" | "rule" | "table" | "note" | "math"} Kind */

/**
 * A block. `closed` is the number of the line that ended it, Infinity while it is open. `text` is that of
 * a paragraph, heading, code, formula or note, or the lines of a table. `level` is that of a heading, 1 for a
 * numbered list, for an item whose number does not follow, and for a closed formula; in a table it is the number of cells
 * in the last row. `indent` is that of the content of an item; in a list it is the number of the next item. `value` counts
 * the cells of a table. `done` children in `doneNodes` nodes of the page are settled (stream.js).
 * @typedef {{
 *   kind: Kind, children: Block[], closed: number, text: string,
 *   indent: number, marker: string, info: string, level: number, value: number, task: "" | "open" | "done",
 *   aligns: Align[], rows: string[][], refused: boolean,
 *   done: number, doneNodes: number,
 * }} Block */

const CONTAINERS = new Set(["root", "quote", "list", "item"]);

/** @param {Kind} kind @param {Partial<Block>} [fields] @returns {Block} */
export function block(kind, fields) {
  return {
    kind, children: [], closed: Infinity, text: "", indent: 0, marker: "", info: "", level: 0, value: 0, task: "",
    aligns: [], rows: [], refused: false, done: 0, doneNodes: 0, ...fields,
  };
}

/** @param {Kind} kind @returns {boolean} */
export const isContainer = (kind) => CONTAINERS.has(kind);

/** @param {Block} one @returns {boolean} whether lines without markers continue it */
export function isText(one) {
  return one.kind === "paragraph" || one.kind === "note";
}

/** @param {Block} parent @param {Block} child @returns {boolean} */
export function accepts(parent, child) {
  if (parent.kind === "list") return child.kind === "item";
  return isContainer(parent.kind);
}
