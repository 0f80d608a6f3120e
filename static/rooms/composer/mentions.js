// @ts-check
// Finds mentions in the text of the composer, before the server renders it.
//
// The same rules as rooms/markup/mentions.py: tests/rooms/markup/mentions.json has the cases that both
// pass. The server reads the tokens of Markdown; here, code, quotes and links are cut out of the text.

import { isAbsorbedEnding, isJapaneseSuffix, isKoreanSuffix, MAX_LENGTH } from "./suffixes.js";

const SIGNS = "@＠﹫";
const MAX_HANDLE_LENGTH = 40;
const MAX_SIGNS = 300;
const CONTEXT = 300;
const MAX_WORD = MAX_HANDLE_LENGTH + MAX_LENGTH;

const SIGN = /[@＠﹫]/gu;
const LETTER = /[\p{L}\p{N}]/u;
const MARK = /\p{M}/u;
const DOMAIN_PATH = /^(?:[\p{L}\p{N}_-]+\.)+[a-z]{2,}(?:[/?#]\S*)?[/?#]$/iu;
const DOMAIN_REST = /^(?:\.[a-z0-9]|[@＠﹫][a-z0-9-]+\.[a-z0-9])/iu;
const JAMO = /[\u1100-\u11ff]/u;
const JAMO_OF_LETTER = /[\u1160-\u11ff\ud7b0-\ud7ff]/u;
const UNSPACED = new Set(["han", "kana"]);
/** @type {[string, RegExp][]} */
const SCRIPTS = [
  ["latin", /[\p{Script=Latin}0-9_-]/u],
  ["hangul", /\p{Script=Hangul}/u],
  ["han", /\p{Script=Han}/u],
  ["kana", /[\p{Script=Hiragana}\p{Script=Katakana}]/u],
  ["cyrillic", /\p{Script=Cyrillic}/u],
  ["greek", /\p{Script=Greek}/u],
];

/**
 * @param {string} text
 * @param {Iterable<string>} handles of the people and personas of the room
 * @returns {Set<string>} the handles that the text mentions
 */
export function mentionsIn(text, handles) {
  if (!/[@＠﹫]/u.test(text)) return new Set(); // the usual case, at each key
  return new Set(findMentions(withoutMarkup(text), byFolded(handles)).map(({ handle }) => handle));
}

/** @param {Iterable<string>} handles @returns {Map<string, string>} from the folded form of each handle to the handle */
export function byFolded(handles) {
  return new Map([...handles].filter(Boolean).map((handle) => [fold(handle), handle]));
}

/** @param {string} handle @returns {string} the form in which handles are compared */
function fold(handle) {
  return handle.normalize("NFKC").toLowerCase().replaceAll("ß", "ss");
}

/**
 * Replaces parts without mentions: code, quotes, links and escaped signs.
 * @param {string} text
 * @returns {string}
 */
function withoutMarkup(text) {
  const kept = [];
  let fence = "";
  let isQuote = false;
  let isParagraph = false;
  for (const line of text.split("\n")) {
    const [, opening = ""] = /^ {0,3}(`{3,}|~{3,})/u.exec(line) ?? [];
    if (fence) {
      if (opening.startsWith(fence) && !line.trim().slice(opening.length)) fence = "";
      continue;
    }
    if (!line.trim()) isQuote = isParagraph = false;
    else if (/^ {0,3}>/u.test(line)) isQuote = true;
    if (opening) fence = opening;
    else if (!isQuote && (isParagraph || !/^(?: {4}|\t)/u.test(line))) kept.push(line);
    isParagraph = Boolean(line.trim()) && !isQuote && !opening;
    if (opening) isQuote = false;
  }
  return kept
    .join("\n")
    .replace(/(?<!`)(`+)(?!`)[^]*?[^`]\1(?!`)/gu, " ")
    .replace(/\[[^\]]*\]\([^)\s]*(?:\s[^)]*)?\)/gu, " ")
    .replace(/<[a-z][a-z0-9+.-]*:[^<>\s]*>/giu, " ")
    .replace(/https?:\/\/\S+/giu, " ")
    .replace(/\\([!-/:-@[-`{-~])/gu, (_escape, sign) => (SIGNS.includes(sign) ? " " : sign));
}

/**
 * @param {string} text
 * @param {Map<string, string>} known maps the folded form of each handle to the handle
 * @returns {{start: number, end: number, handle: string}[]}
 */
export function findMentions(text, known) {
  const found = [];
  let endOfMention = -1;
  for (const sign of [...text.matchAll(SIGN)].slice(0, MAX_SIGNS)) {
    const start = sign.index;
    if (start !== endOfMention && !mayBegin(text, start)) continue;
    const { word, ends } = foldedWord(text, start + 1);
    const end = ends[ends.length - 1];
    const length = handleLength(word, known, text.slice(end, end + CONTEXT));
    if (!length) continue;
    const handle = known.get(word.slice(0, length)) ?? /** @type {string} */ (known.get(absorbing(word, length)));
    found.push({ start, end: ends[length], handle });
    endOfMention = end;
  }
  return found;
}

/** @param {string} text @param {number} start @returns {boolean} false inside a word or an address */
function mayBegin(text, start) {
  const last = start ? (Array.from(text.slice(Math.max(0, start - 2), start)).pop() ?? " ") : " ";
  if (/\s/u.test(last)) return true;
  if (SIGNS.includes(last)) return false;
  const before = text.slice(Math.max(0, start - CONTEXT), start);
  if ("/?#".includes(last)) {
    const run = before.trimEnd().split(/\s+/u).pop() ?? "";
    return !DOMAIN_PATH.test(run.replace(/^[([{<"']+/u, ""));
  }
  if (last === "_") return !LETTER.test(before.replace(/_+$/u, "").slice(-1));
  return !(LETTER.test(last) || MARK.test(last)) || UNSPACED.has(scriptOf(last));
}

/**
 * Returns the folded word at `start`, and for each of its prefixes the end in `text`. Each letter is folded
 * together with its marks: decomposed Hangul is one letter.
 * @param {string} text
 * @param {number} start
 * @returns {{word: string, ends: number[]}}
 */
function foldedWord(text, start) {
  let word = "";
  const ends = [start];
  let at = start;
  while (at < text.length && word.length < MAX_WORD) {
    let end = at + String.fromCodePoint(text.codePointAt(at) ?? 0).length;
    while (end < text.length && continuesLetter(text[end])) end += 1;
    const folded = fold(text.slice(at, end));
    if (![...folded].every((one) => LETTER.test(one) || MARK.test(one) || "-_".includes(one))) break;
    word += folded;
    for (let n = 0; n < folded.length; n += 1) ends.push(end);
    at = end;
  }
  return { word, ends };
}

/** @param {string} character @returns {boolean} true for a mark, and for a part of decomposed Hangul */
function continuesLetter(character) {
  return JAMO_OF_LETTER.test(character) || MARK.test(character);
}

/**
 * @param {string} word
 * @param {Map<string, string>} known
 * @param {string} after the text behind the word
 * @returns {number} the length of the longest known handle at the start of the word; 0 if there is none
 */
function handleLength(word, known, after) {
  for (let length = Math.min(word.length, MAX_HANDLE_LENGTH); length > 0; length -= 1) {
    if (known.has(word.slice(0, length)) && mayEnd(word[length - 1], word.slice(length), after)) return length;
    if (known.has(absorbing(word, length))) return length;
  }
  return 0;
}

/**
 * Returns the handle whose last syllable has absorbed the consonant of an ending, or "": "나립니다" is "나리"
 * with "ㅂ니다".
 * @param {string} word
 * @param {number} length
 * @returns {string}
 */
function absorbing(word, length) {
  const last = word[length - 1];
  if (last < "가" || last > "힣") return "";
  const syllable = last.normalize("NFD");
  if (syllable.length !== 3 || !isAbsorbedEnding(syllable[2] + word.slice(length))) return "";
  return word.slice(0, length - 1) + syllable.slice(0, 2).normalize("NFC");
}

/**
 * @param {string} last the last character of a handle
 * @param {string} following the rest of its word
 * @param {string} after the text behind the word
 * @returns {boolean} whether the handle may be followed by this
 */
function mayEnd(last, following, after) {
  const rest = following.split(JAMO)[0].replace(/[-_]+$/u, "").replace(/^_+(?=.)/u, "");
  if (!rest) return !DOMAIN_REST.test(after);
  if (rest.charCodeAt(0) < 128 || MARK.test(rest[0])) return false;
  const [own, other] = [scriptOf(last), scriptOf(rest[0])];
  if (own !== other) return true;
  if (own === "hangul") return isKoreanSuffix(rest);
  return UNSPACED.has(own) && isJapaneseSuffix(rest);
}

/** @param {string} character @returns {string} */
function scriptOf(character) {
  return SCRIPTS.find(([, letters]) => letters.test(character))?.[0] ?? character;
}
