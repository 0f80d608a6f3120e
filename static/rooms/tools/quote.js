// @ts-check
// Quotes a message, or the part of it that is selected, in the composer.

/**
 * @param {HTMLElement} body of the message
 * @param {string} text the source of the whole message
 * @returns {string} a quote in Markdown
 */
export function quoteOf(body, text) {
  const selection = getSelection();
  const inside = selection && !selection.isCollapsed && body.contains(selection.getRangeAt(0).commonAncestorContainer);
  return asQuote(inside ? selection.toString() : text);
}

/** @param {string} text @returns {string} the text with the mark of a quote before each line */
export function asQuote(text) {
  const lines = text.trim().split("\n");
  return lines.map((line) => (line.trim() ? `> ${line}` : ">")).join("\n");
}
