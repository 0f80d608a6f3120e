// @ts-check
// The text of a message on the page: plain while it streams, the server's markup once it is whole.

import { clone } from "../elements.js";

/**
 * The one place where markup is parsed. `html` is made by rooms/markup on the server: markdown
 * without HTML, then a tag allow-list. Nothing that a browser or a persona sends comes here as it is.
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
 * Shows a text that grows. What is there already stays, so a selection in it stays, too.
 * @param {HTMLElement} body
 * @param {string} text
 */
export function setPlain(body, text) {
  const [node] = body.childNodes;
  if (!(node instanceof Text) || body.childNodes.length > 1) return body.replaceChildren(text);
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}
