// @ts-check
// Emphasis and strikethrough: which delimiters open and close them. The algorithms of markdown-it, with
// the flanking rules of rooms/markup/flanking.py.

import { characterAt, characterBefore, isCjk, isPunctuation, isWhitespace } from "./characters.js";

/** @typedef {{marker: string, length: number, token: number, end: number, open: boolean, close: boolean}} Delimiter */
/** @typedef {{type: "text" | "open" | "close" | "node", text: string, tag: string, node?: import("../tree.js").Node}} Token */

const VARIATION_SELECTOR = /[\ufe00-\ufe0f]|\udb40[\udd00-\uddef]/;

/**
 * @param {string} src
 * @param {number} start of a run of one marker
 * @returns {{open: boolean, close: boolean, length: number}}
 */
export function scanRun(src, start) {
  const marker = src[start];
  let end = start;
  while (src[end] === marker) end += 1;
  let from = start;
  let last = from > 0 ? characterBefore(src, from) : " ";
  while (from > 0 && VARIATION_SELECTOR.test(last)) {
    from -= last.length;
    last = from > 0 ? characterBefore(src, from) : " ";
  }
  const before = beside(last);
  const after = beside(characterAt(src, end) || " ");
  const left = isFlanking(after, before);
  const right = isFlanking(before, after);
  const splits = marker !== "_";
  const open = left && (splits || !right || before.isPunctuation);
  const close = right && (splits || !left || after.isPunctuation);
  return { open, close, length: end - start };
}

/** @param {string} character */
function beside(character) {
  return {
    isSpace: isWhitespace(character),
    isPunctuation: isPunctuation(character),
    isCjk: isCjk(character),
  };
}

/** @param {ReturnType<typeof beside>} inside @param {ReturnType<typeof beside>} outside */
function isFlanking(inside, outside) {
  if (inside.isSpace) return false;
  if (!inside.isPunctuation || inside.isCjk) return true;
  return outside.isSpace || outside.isPunctuation || outside.isCjk;
}

/** Sets `end` of each opening delimiter that is closed: `balance_pairs` of markdown-it. @param {Delimiter[]} delimiters */
export function balance(delimiters) {
  /** @type {Record<string, number[]>} */
  const bottoms = {};
  /** @type {number[]} */
  const jumps = [];
  let header = 0;
  let lastToken = -2;
  for (let at = 0; at < delimiters.length; at += 1) {
    const closer = delimiters[at];
    jumps.push(0);
    if (delimiters[header].marker !== closer.marker || lastToken !== closer.token - 1) header = at;
    lastToken = closer.token;
    if (!closer.close) continue;
    const bottom = (bottoms[closer.marker] ??= [-1, -1, -1, -1, -1, -1]);
    const kind = (closer.open ? 3 : 0) + (closer.length % 3);
    let opener = header - jumps[header] - 1;
    let lowest = opener;
    for (; opener > bottom[kind]; opener -= jumps[opener] + 1) {
      const candidate = delimiters[opener];
      if (candidate.marker !== closer.marker || !candidate.open || candidate.end >= 0) continue;
      if (isOddMatch(candidate, closer)) continue;
      const jump = opener > 0 && !delimiters[opener - 1].open ? jumps[opener - 1] + 1 : 0;
      jumps[at] = at - opener + jump;
      jumps[opener] = jump;
      closer.open = false;
      candidate.end = at;
      candidate.close = false;
      lowest = -1;
      lastToken = -2;
      break;
    }
    if (lowest !== -1) bottom[(closer.open ? 3 : 0) + (closer.length % 3)] = lowest;
  }
}

/** The "rule of 3" of CommonMark §6.2. @param {Delimiter} opener @param {Delimiter} closer */
function isOddMatch(opener, closer) {
  return (
    (opener.close || closer.open) &&
    (opener.length + closer.length) % 3 === 0 &&
    (opener.length % 3 !== 0 || closer.length % 3 !== 0)
  );
}

/** Makes tags of the balanced delimiters in `tokens`. @param {Token[]} tokens @param {Delimiter[]} delimiters */
export function makeTags(tokens, delimiters) {
  makeStrikethrough(tokens, delimiters);
  for (let at = delimiters.length - 1; at >= 0; at -= 1) {
    const start = delimiters[at];
    if (start.marker === "~" || start.end === -1) continue;
    const end = delimiters[start.end];
    const outer = delimiters[at - 1];
    const behind = delimiters[start.end + 1];
    const isStrong =
      at > 0 &&
      outer.end === start.end + 1 &&
      outer.marker === start.marker &&
      outer.token === start.token - 1 &&
      behind.token === end.token + 1;
    setTag(tokens[start.token], "open", isStrong ? "strong" : "em");
    setTag(tokens[end.token], "close", isStrong ? "strong" : "em");
    if (!isStrong) continue;
    tokens[outer.token].text = "";
    tokens[behind.token].text = "";
    at -= 1;
  }
}

/** @param {Token[]} tokens @param {Delimiter[]} delimiters */
function makeStrikethrough(tokens, delimiters) {
  const lone = [];
  for (const start of delimiters) {
    if (start.marker !== "~" || start.end === -1) continue;
    const end = delimiters[start.end].token;
    setTag(tokens[start.token], "open", "s");
    setTag(tokens[end], "close", "s");
    const before = tokens[end - 1];
    if (before.type === "text" && before.text === "~") lone.push(end - 1);
  }
  // The odd marker of a run stands before it: move it behind the end tags.
  for (const at of lone.reverse()) {
    let to = at + 1;
    while (tokens[to]?.type === "close" && tokens[to].tag === "s") to += 1;
    to -= 1;
    if (at !== to) [tokens[at], tokens[to]] = [tokens[to], tokens[at]];
  }
}

/** @param {Token} token @param {"open" | "close"} type @param {string} tag */
function setTag(token, type, tag) {
  token.type = type;
  token.tag = tag;
  token.text = "";
}
