// @ts-check
// The nodes that the parsers return, and the elements that they may become: the allow-list of
// rooms/markup/clean.py. Text becomes text nodes; no text is parsed as HTML.

import { setFormula } from "./formula.js";

/** @typedef {string | Element_} Node a text or an element */
/** @typedef {{tag: string, attributes: Record<string, string>, children: Node[]}} Element_ */

const TAGS = new Set(
  ("p br hr strong em s bdi code h3 h4 h5 a span sup ul ol li blockquote pre div table thead tbody tr th td").split(" "),
);
const ATTRIBUTES = new Set(["class", "href", "target", "rel", "start", "value", "data-align", "data-handle"]);
/** Attributes that the page adds to the elements of a stream; keyboard_navigation.js sets tabindex. */
export const DECORATIONS = new Set(["data-caret", "data-wide", "tabindex"]);
const ADDRESS = /^(?:https?|mailto):/i;

/**
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {Node[]} [children]
 * @returns {Element_}
 */
export function element(tag, attributes = {}, children = []) {
  return { tag, attributes, children };
}

/** @param {Node[]} nodes @returns {string} */
export function textOf(nodes) {
  let text = "";
  for (const node of nodes) text += typeof node === "string" ? node : textOf(node.children);
  return text;
}

/**
 * Makes the child nodes of `parent` from the index `from` on equal to `nodes`; later ones stay. Nodes that are equal
 * already keep their identity; a text that has grown is appended to.
 * @param {Element} parent
 * @param {Node[]} nodes
 * @param {number} [from]
 */
export function update(parent, nodes, from = 0) {
  let at = from;
  for (const node of nodes) fill(place(parent, at++, node), node);
}

/** Makes the content of a placed node equal to `node`. @param {ChildNode} target @param {Node} node */
export function fill(target, node) {
  if (typeof node === "string") return setData(/** @type {Text} */ (target), node);
  const one = /** @type {Element} */ (target);
  if (node.attributes.class === "math") return setFormula(one, textOf(node.children));
  update(one, node.children);
  trim(one, node.children.length);
}

/**
 * Returns the child at an index; it is replaced if it cannot become `node`.
 * @param {Element} parent
 * @param {number} at
 * @param {Node} node
 * @returns {ChildNode}
 */
export function place(parent, at, node) {
  const current = parent.childNodes[at];
  if (current && fits(current, node)) return current;
  const made = make(/** @type {Document} */ (parent.ownerDocument), node);
  if (current) parent.replaceChild(made, current);
  else parent.appendChild(made);
  return made;
}

/** Removes the children from an index on. @param {Element} parent @param {number} from */
export function trim(parent, from) {
  while (parent.childNodes.length > from) parent.removeChild(/** @type {ChildNode} */ (parent.lastChild));
}

/**
 * Returns an element for `node` without its children.
 * @param {Document} owner
 * @param {Node} node
 * @returns {ChildNode}
 * @throws {Error} The node is not on the allow-list.
 */
export function make(owner, node) {
  if (typeof node === "string") return owner.createTextNode("");
  if (!TAGS.has(node.tag)) throw new Error(`<${node.tag}> is not allowed`);
  const made = owner.createElement(node.tag);
  for (const [name, value] of Object.entries(node.attributes)) {
    if (!ATTRIBUTES.has(name)) throw new Error(`${name} is not allowed`);
    if (name === "href" && !ADDRESS.test(value)) throw new Error("address is not allowed");
    made.setAttribute(name, value);
  }
  return made;
}

/** @param {ChildNode} current @param {Node} node @returns {boolean} whether `current` can become `node` */
export function fits(current, node) {
  if (typeof node === "string") return current.nodeType === 3;
  if (current.nodeType !== 1) return false;
  const one = /** @type {Element} */ (current);
  const names = Object.keys(node.attributes);
  return (
    one.localName === node.tag &&
    [...one.attributes].filter(({ name }) => !DECORATIONS.has(name)).length === names.length &&
    names.every((name) => one.getAttribute(name) === node.attributes[name])
  );
}

/** @param {Text} text @param {string} data */
function setData(text, data) {
  if (text.data === data) return;
  if (text.data && data.startsWith(text.data)) text.appendData(data.slice(text.data.length));
  else text.data = data;
}
