// @ts-check
// The sentences of failed answers. An event is the same for all readers, so the page words the error of
// a run in the language of its reader, with the sentences of rooms/protocol/failures.py.

import { fill, gettext } from "../maru/translations.js";

/** By reason or code. @type {Record<string, string>} */
let sentences = {};

/** @param {Record<string, string>} found from the script of the language */
export function setFailures(found) {
  sentences = found;
}

/** @param {import("./protocol.js").RunError | null | undefined} error @returns {string} */
export function failureWords(error) {
  if (!error) return gettext("The answer failed.");
  const sentence = sentences[error.reason ?? ""] ?? sentences[error.code] ?? error.detail;
  return fill(sentence, { persona: error.persona ?? "" });
}
