// @ts-check
// Which last line is not decided yet: its first characters may begin a heading, a list, a table or code.

/** @typedef {import("./block.js").Block} Block */

const CONTAINERS = /^(?:[ \t]*(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t])))*[ \t]*/;
const UNDECIDED = new RegExp(
  `^(?:${[
    "", // only the markers of lists and quotes
    "#{1,6}[ \\t]*", // a heading
    "[-+*_=][-*_ \\t=]*", // a list, a rule or emphasis
    "\\d{1,9}[.)]?", // a list
    "`{1,2}|`{3,}[^`]*", // code
    "~{1,2}|~{3,}.*",
    "[|:-][|: \\t-]*", // the row below the head of a table
    "\\[[ xX]?\\]?[ \\t]*", // a task
    "\\[\\^[\\w-]*\\]?:?[ \\t]*", // a note
    "\\$|\\\\\\[?", // a formula
  ].join("|")})$`,
);
const CLOSING_FENCE = /^[ \t>]*(?:`+|~+)[ \t]*$/;
const CLOSING_MATH = /^\$?$/;

/**
 * @param {string} line the last line, which has no end yet
 * @param {Block} innermost the open block that it may continue
 * @returns {boolean} whether nothing of it can be shown yet
 */
export function isHeldBack(line, innermost) {
  if (innermost.kind === "fence") return CLOSING_FENCE.test(line);
  const rest = line.replace(CONTAINERS, "");
  if (innermost.kind === "math") return CLOSING_MATH.test(rest);
  if (rest[0] === "|" && innermost.kind !== "table") return true; // perhaps the head of a table
  return UNDECIDED.test(rest);
}

/**
 * Returns the text of an open paragraph without a last line that may be the head of a table.
 * @param {string} text
 * @returns {string}
 */
export function withoutTableHead(text) {
  const start = text.lastIndexOf("\n", text.length - 2) + 1;
  return text[start] === "|" ? text.slice(0, start) : text;
}
