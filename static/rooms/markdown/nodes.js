// @ts-check
// The elements of blocks, with the tags and classes of rooms/markup.

import { fileAndLanguage, highlight } from "./code.js";
import { parseInline } from "./inline/parser.js";
import { element } from "./tree.js";

/** @typedef {import("./blocks/block.js").Block} Block */
/** @typedef {import("./tree.js").Node} Node */
/** @typedef {import("./tree.js").Element_} Element_ */

const HEADINGS = ["", "h3", "h4", "h5", "h5", "h5", "h5"];
/** More of one sign are not parsed: rooms/markup/work.py. */
export const MAX_OF_ONE_SIGN = 1_000;
const SIGNS = /[[\]()*_~`|<>&!$]/g;

/** Returns the element of a container or text without its content. @param {Block} one @returns {Element_} */
export function outer(one) {
  if (one.kind === "quote") return element("blockquote");
  if (one.kind === "heading") return element(HEADINGS[one.level]);
  if (one.kind === "note") return element("p", { class: "footnote" });
  if (one.kind === "item") return item(one);
  if (one.kind !== "list") return element("p");
  return one.level ? element("ol", one.value === 1 ? {} : { start: String(one.value) }) : element("ul");
}

/** @param {Block} one @returns {Element_} */
function item(one) {
  /** @type {Record<string, string>} */
  const attributes = {};
  if (one.level) attributes.value = String(one.value);
  if (one.task) attributes.class = "task";
  return element("li", attributes);
}

/** Returns the nodes before the content of a block. @param {Block} one @returns {Node[]} */
export function lead(one) {
  if (one.task) return [element("span", { class: "task-box" }, [one.task === "done" ? "☑" : "☐"]), " "];
  if (one.kind === "note") return [element("sup", { class: "footnote-label" }, [one.info]), " "];
  return [];
}

/** Returns the element of a rule, a formula or code. @param {Block} one @param {boolean} isFinal @returns {Element_} */
export function whole(one, isFinal) {
  if (one.kind === "rule") return element("hr");
  if (one.kind === "math") return element("div", { class: "math" }, [one.text.trim()]);
  const { title, name, language } = fileAndLanguage(one.info);
  const text = one.kind === "code" ? one.text.replace(/\n(?:[ \t]*\n)+$/, "\n") : one.text;
  const head = title ? [element("div", { class: "code-file" }, [title])] : [];
  const content = isFinal ? highlight(text, language, name) : text ? [text] : [];
  return element("div", { class: "code" }, [...head, element("pre", {}, [element("code", {}, content)])]);
}

/** @param {string} tag @param {string} text @param {string} align @param {boolean} open @returns {Element_} */
export function cell(tag, text, align, open) {
  return element(tag, align ? { "data-align": align } : {}, parseInline(text, { open, inCell: true }).nodes);
}

/** @param {string} text @param {number} from @param {Record<string, number>} counts of the signs before `from`, which are updated */
export function countSigns(text, from, counts) {
  let most = 0;
  for (const [sign] of text.slice(from).matchAll(SIGNS)) {
    counts[sign] = (counts[sign] ?? 0) + 1;
    most = Math.max(most, counts[sign]);
  }
  return most;
}

/** @param {string} text without blank lines @returns {Node[]} its lines without formatting */
export function plainLines(text) {
  return text.split("\n").flatMap((line, at) => (at ? [element("br"), line] : [line]));
}
