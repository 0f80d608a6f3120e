// @ts-check
// Replaces what a stream has shown by the server's HTML, where both differ. Equal blocks are not touched.

import { formulaOf } from "./formula.js";
import { DECORATIONS } from "./tree.js";

/** An element, or adjacent texts. @typedef {{nodes: ChildNode[], element: Element | null, text: string}} Part */

/** Elements in which whitespace between elements means nothing. */
const CONTAINERS = new Set(["ul", "ol", "blockquote", "table", "thead", "tbody", "tr"]);
/** Elements that keep their identity when only some of their children differ. */
const OPENED = new Set(["ul", "ol", "li", "blockquote"]);

/**
 * @param {Element} body
 * @param {ParentNode} fresh the sanitized HTML; its nodes move into `body`
 */
export function replaceDifferent(body, fresh) {
  replaceChildren(body, partsOf(body, true), partsOf(fresh, true));
}

/** @param {Element} parent @param {Part[]} before @param {Part[]} after */
function replaceChildren(parent, before, after) {
  let start = 0;
  while (start < before.length && start < after.length && areEqual(before[start], after[start])) start += 1;
  let [end, freshEnd] = [before.length, after.length];
  while (end > start && freshEnd > start && areEqual(before[end - 1], after[freshEnd - 1])) {
    end -= 1;
    freshEnd -= 1;
  }
  const next = before[end]?.nodes[0] ?? null;
  const common = Math.min(end, freshEnd) - start;
  for (let at = start; at < end || at < freshEnd; at += 1) {
    const [old, made] = [before[at], after[at]];
    if (at - start < common && areEqual(old, made)) continue;
    if (at - start < common && isOpened(old.element, made.element)) {
      const [one, other] = [/** @type {Element} */ (old.element), /** @type {Element} */ (made.element)];
      replaceChildren(one, partsOf(one), partsOf(other));
      continue;
    }
    const place = at < end ? old.nodes[0] : next;
    if (at < freshEnd) for (const node of made.nodes) parent.insertBefore(node, place);
    if (at < end) for (const node of old.nodes) parent.removeChild(node);
  }
}

/** @param {Element | null} one @param {Element | null} other */
function isOpened(one, other) {
  return one !== null && other !== null && OPENED.has(one.localName) && haveEqualTags(one, other);
}

/** @param {ParentNode & Node} parent @param {boolean} [isContainer] @returns {Part[]} */
function partsOf(parent, isContainer = CONTAINERS.has(/** @type {Element} */ (parent).localName)) {
  /** @type {Part[]} */
  const parts = [];
  for (const node of parent.childNodes) {
    if (node.nodeType === 1) {
      if (!(/** @type {Element} */ (node).matches(".code-copy"))) parts.push({ nodes: [node], element: /** @type {Element} */ (node), text: "" });
      continue;
    }
    const text = node.textContent ?? "";
    const last = parts[parts.length - 1];
    if (isContainer && text.trim() === "") continue;
    if (last && !last.element) {
      last.nodes.push(node);
      last.text += text;
    } else {
      parts.push({ nodes: [node], element: null, text });
    }
  }
  return parts.filter(({ element, text }) => element || text !== "\n");
}

/** @param {Part} one @param {Part} other @returns {boolean} */
function areEqual(one, other) {
  if (!one.element || !other.element) return one.element === other.element && one.text.trim() === other.text.trim();
  if (!haveEqualTags(one.element, other.element)) return false;
  if (one.element.matches(".math")) return formulaOf(one.element) === other.element.textContent;
  if (one.element.matches("pre")) return one.element.innerHTML === other.element.innerHTML;
  const [before, after] = [partsOf(one.element), partsOf(other.element)];
  return before.length === after.length && before.every((part, at) => areEqual(part, after[at]));
}

/** @param {Element} one @param {Element} other */
function haveEqualTags(one, other) {
  return one.localName === other.localName && attributesOf(one) === attributesOf(other);
}

/** @param {Element} element */
function attributesOf(element) {
  const names = element.getAttributeNames().filter((name) => !DECORATIONS.has(name));
  return names.sort().map((name) => `${name}=${element.getAttribute(name)}`).join(" ");
}
