// @ts-check
// Where a formula begins and ends: "$x$", "$$x$$", "\( x \)". Prices and variables of a shell are no formulas.
// The rules of rooms/markup/formulas.py.

import { isCjk } from "./characters.js";

export const MAX_FORMULA = 1_000;

const DOLLARS = /\$\$([^$\n]{1,1000})\$\$/y;
const DOLLAR = /\$(?!\s)((?:[^$\n\\]|\\[^\n]){1,1000})(?<!\s)\$/y;
const WORD = /(?<![\\A-Za-z{])[A-Za-z]{3,}|^\d.*\s[A-Za-z]{2,}\s/;

/**
 * @param {string} src
 * @param {number} at a "$" or a backslash
 * @returns {{text: string, end: number} | null}
 */
export function mathAt(src, at) {
  if (src[at] === "\\") return src[at + 1] === "(" ? inParentheses(src, at) : null;
  if (src[at + 1] === "$") return matched(DOLLARS, src, at);
  if (/[A-Za-z0-9$]/.test(src[at - 1] ?? "")) return null;
  const found = matched(DOLLAR, src, at);
  if (!found || /[A-Za-z0-9_$]/.test(src[found.end] ?? "")) return null;
  return isProse(found.text) ? null : found;
}

/** @param {string} src @param {number} at */
function inParentheses(src, at) {
  const found = src.slice(at + 2, at + MAX_FORMULA).indexOf("\\)");
  const text = src.slice(at + 2, at + 2 + found);
  if (found < 0 || !/^\s[^\n]*\s$/.test(text) || !text.trim()) return null;
  return { text: text.trim(), end: at + 4 + found };
}

/** @param {RegExp} pattern @param {string} src @param {number} at */
function matched(pattern, src, at) {
  pattern.lastIndex = at;
  const found = pattern.exec(src);
  return found && found[1].trim() ? { text: found[1].trim(), end: pattern.lastIndex } : null;
}

/** @param {string} text @returns {boolean} whether it reads as words between two prices */
function isProse(text) {
  if (text.includes("\\")) return false;
  return WORD.test(text) || [...text].some(isCjk);
}

/** @param {string} src @param {number} at of a "$" @returns {boolean} whether the text behind may become a formula */
export function mayBecomeMath(src, at) {
  const rest = src.slice(at + 1);
  if (src[at + 1] === "$" || /[A-Za-z0-9$]/.test(src[at - 1] ?? "") || /^[\s\d]/.test(rest)) return false;
  return rest !== "" && rest.length < MAX_FORMULA && !rest.includes("$") && !isProse(rest);
}
