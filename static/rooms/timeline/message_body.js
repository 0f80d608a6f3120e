// @ts-check
// The body of a message: Markdown that grows while an answer streams, the server's HTML when it is complete.

import { byFolded } from "../composer/mentions.js";
import { clone } from "../elements.js";
import { setFormula } from "../markdown/formula.js";
import { replaceDifferent } from "../markdown/replacement.js";
import { MarkdownStream } from "../markdown/stream.js";

/** Characters; more text than a provider sends in a second. */
const MOST_AT_ONCE = 4_000;

/** The unfinished answers. @type {WeakMap<Element, MarkdownStream>} */
const streams = new WeakMap();

/**
 * The only place that parses HTML. `html` must come from rooms/markup on the server, which sanitizes it
 * by an allow-list. After a stream, blocks that are equal already are kept.
 * @param {HTMLElement} body
 * @param {{html: string, text: string}} message
 * @param {string} handle of the reader
 */
export function setHtml(body, { html, text }, handle) {
  const stream = streams.get(body);
  if (stream) {
    streams.delete(body);
    stream.finish(text);
    const template = document.createElement("template");
    template.innerHTML = html;
    replaceDifferent(body, template.content);
  } else {
    body.innerHTML = html;
  }
  decorate(body, handle);
}

/** @param {HTMLElement} body @param {string} handle */
export function decorate(body, handle) {
  for (const mention of body.querySelectorAll(".mention")) {
    const { dataset } = /** @type {HTMLElement} */ (mention);
    if (dataset.handle?.toLowerCase() === handle.toLowerCase()) dataset.state = "me";
  }
  for (const code of body.querySelectorAll(".code:not(:has(.code-copy))")) {
    code.append(clone("copy-code"));
  }
  for (const formula of body.querySelectorAll(".math:not(:has(math))")) setFormula(formula, formula.textContent ?? "");
}

/**
 * Shows the text so far of an unfinished answer, or the next part of a long one that is not shown yet.
 * @param {HTMLElement} body
 * @param {string} text
 * @param {() => Iterable<string>} handles that can be mentioned
 * @returns {boolean} whether all of the text is shown
 */
export function setGrowing(body, text, handles) {
  let stream = streams.get(body);
  if (!stream) streams.set(body, (stream = new MarkdownStream(body, byFolded(handles()))));
  const end = stream.length + MOST_AT_ONCE;
  stream.write(end < text.length ? text.slice(0, end) : text);
  return end >= text.length;
}

/** Shows a text without formatting. @param {HTMLElement} body @param {string} text */
export function setPlain(body, text) {
  streams.delete(body);
  if (body.textContent !== text || body.childElementCount) body.replaceChildren(text);
}
