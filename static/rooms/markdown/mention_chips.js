// @ts-check
// Mentions in the text of an unfinished answer, as rooms/markup/mentions.py shows them.

import { findMentions } from "../composer/mentions.js";
import { element } from "./tree.js";

/** @typedef {import("./tree.js").Node} Node */

/** Elements in whose text there are no mentions. */
const WITHOUT = new Set(["a", "code", "span", "sup", "bdi"]);

/**
 * @param {Node[]} nodes
 * @param {Map<string, string>} known maps the folded form of each handle to the handle
 * @returns {Node[]} with a chip for each mention
 */
export function withChips(nodes, known) {
  if (!known.size) return nodes;
  return nodes.flatMap((node) => {
    if (typeof node === "string") return chips(node, known);
    return WITHOUT.has(node.tag) ? [node] : [{ ...node, children: withChips(node.children, known) }];
  });
}

/** @param {string} text @param {Map<string, string>} known @returns {Node[]} */
function chips(text, known) {
  if (!/[@＠﹫]/.test(text)) return [text];
  /** @type {Node[]} */
  const nodes = [];
  let done = 0;
  for (const { start, end, handle } of findMentions(text, known)) {
    if (start > done) nodes.push(text.slice(done, start));
    nodes.push(element("span", { class: "mention", "data-handle": handle }, [text.slice(start, end)]));
    done = end;
  }
  if (done < text.length) nodes.push(text.slice(done));
  return nodes;
}
