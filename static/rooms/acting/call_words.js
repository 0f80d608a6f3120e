// @ts-check
// The titles and the results of tool calls in the language of the reader. An event is the same for all readers, so it
// has those of our own tools in English; rooms/protocol/call_words.py does the same for pages.

import { fill, gettext, ngettext } from "../../maru/translations.js";

/** @typedef {{titles: Record<string, string>, results: Record<string, string>}} CallWords */

/** @type {CallWords} */
let words = { titles: {}, results: {} };

/** @param {CallWords} found of the script of the language; without those that are the same in English */
export function setCallWords(found) {
  words = found;
}

/** @param {{tool: string, title: string, own?: boolean}} call @returns {string} */
export function callTitle({ tool, title, own }) {
  return own && Object.hasOwn(words.titles, tool) ? words.titles[tool] : title;
}

/** @param {import("../protocol.js").CallStep} step @returns {string} "" without a result */
export function callResult({ state, result, answers }) {
  if (answers === 0) return gettext("no answer");
  if (answers) return fill(ngettext("%(count)s answer", "%(count)s answers", answers), { count: answers });
  if (state === "failed" && result && Object.hasOwn(words.results, result)) return words.results[result];
  return result ?? "";
}
