// @ts-check
// Classes of characters, as rooms/markup/characters.py and markdown-it decide them.

const CJK = new RegExp(
  "[\\u1100-\\u11ff\\u20a9\\u2329-\\u232a\\u2e80-\\u303e\\u3040-\\ua4cf\\ua960-\\ua97f\\uac00-\\ud7ff\\uf900-\\ufaff" +
    "\\ufe10-\\ufe1f\\ufe30-\\ufe6f\\uff01-\\uffee\\u{16fe0}-\\u{18fff}\\u{1aff0}-\\u{1b2ff}\\u{20000}-\\u{3fffd}]",
  "u",
);
const PUNCTUATION = /[\p{P}\p{S}]/u;
const WHITESPACE = /[\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/;
const ALPHANUMERIC = /[\p{L}\p{N}]/u;
const ENDS_ADDRESS = /[\p{Z}\p{Cc}\p{Cf}\p{Pi}\p{Pf}]/u;
const SCRIPTS = ["Latin", "Hangul", "Cyrillic", "Greek", "Arabic", "Hebrew", "Thai", "Devanagari"].map(
  (name) => /** @type {[string, RegExp]} */ ([name, new RegExp(`\\p{Script=${name}}`, "u")]),
);
const KANA = /[\p{Script=Hiragana}\p{Script=Katakana}ー]/u;
const HAN = /\p{Script=Han}/u;

/** @param {string} character @returns {boolean} */
export const isCjk = (character) => character >= "\u1100" && CJK.test(character);

/** @param {string} character @returns {boolean} */
export const isPunctuation = (character) => PUNCTUATION.test(character);

/** @param {string} character @returns {boolean} */
export const isWhitespace = (character) => WHITESPACE.test(character);

/** @param {string} character @returns {boolean} */
export const isAlphanumeric = (character) => ALPHANUMERIC.test(character);

/** @param {string} character @returns {boolean} whether CommonMark permits a backslash before it */
export const isAsciiPunctuation = (character) => /[!-/:-@[-`{-~]/.test(character);

/** @param {string} character @returns {boolean} whether no web address continues with it */
export function endsAddress(character) {
  if (character < "\x80") return character <= " " || "<>\"'`\x7f".includes(character);
  return ENDS_ADDRESS.test(character) || (isCjk(character) && isPunctuation(character));
}

/** @param {string} character a letter or digit @returns {string} the name of its script */
export function script(character) {
  if (character < "\x80") return "Latin";
  if (HAN.test(character)) return "han";
  if (KANA.test(character)) return "kana";
  return SCRIPTS.find(([, pattern]) => pattern.test(character))?.[0] ?? "other";
}

/** The character that ends at an index; a surrogate pair is one. @param {string} text @param {number} end */
export function characterBefore(text, end) {
  const low = text.charCodeAt(end - 1);
  const isPair = low >= 0xdc00 && low <= 0xdfff && end > 1;
  return text.slice(isPair ? end - 2 : end - 1, end);
}

/** @param {string} text @param {number} at @returns {string} the whole character at an index */
export function characterAt(text, at) {
  return at < text.length ? String.fromCodePoint(/** @type {number} */ (text.codePointAt(at))) : "";
}
