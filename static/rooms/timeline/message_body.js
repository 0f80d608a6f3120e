// @ts-check
// The body of a message: plain text while it streams, the server's HTML when it is complete.

import { clone } from "../elements.js";

/**
 * The only place that parses HTML. `html` must come from rooms/markup on the server, which sanitizes it
 * by an allow-list.
 * @param {HTMLElement} body
 * @param {string} html
 * @param {string} handle of the reader
 */
export function setHtml(body, html, handle) {
  body.innerHTML = html;
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
}

/**
 * Shows a streaming text. Only new text is appended, so that a selection in it is kept.
 * @param {HTMLElement} body
 * @param {string} text
 */
export function setPlain(body, text) {
  const [node] = body.childNodes;
  if (!(node instanceof Text) || body.childNodes.length > 1) return body.replaceChildren(text);
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}
