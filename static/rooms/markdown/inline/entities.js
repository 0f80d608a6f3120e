// @ts-check
// Entities in text: numeric ones and the usual names. The server knows all names; a rare one stays as
// typed until the answer is complete.

const NAMES = /** @type {Record<string, string>} */ ({
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®", trade: "™", hellip: "…",
  mdash: "—", ndash: "–", lsquo: "‘", rsquo: "’", ldquo: "“", rdquo: "”", laquo: "«", raquo: "»", middot: "·",
  bull: "•", times: "×", divide: "÷", deg: "°", plusmn: "±", larr: "←", rarr: "→", uarr: "↑", darr: "↓",
  harr: "↔", euro: "€", pound: "£", yen: "¥", cent: "¢", sect: "§", para: "¶", frac12: "½", le: "≤", ge: "≥",
  ne: "≠", infin: "∞", alpha: "α", beta: "β", pi: "π", micro: "µ", check: "✓", num: "#", excl: "!", colon: ":",
  lpar: "(", rpar: ")", lsqb: "[", rsqb: "]", ast: "*", lowbar: "_", grave: "`", vert: "|", sol: "/", bsol: "\\",
  Tab: "\t", NewLine: "\n",
});

/**
 * @param {string} src
 * @param {number} at
 * @returns {{text: string, end: number} | null} the character of the entity at `at`
 */
export function entityAt(src, at) {
  const found = /^&(?:#(?:x([0-9a-f]{1,6})|([0-9]{1,7}))|([a-z][a-z0-9]{1,31}));/i.exec(src.slice(at, at + 34));
  if (!found) return null;
  const [all, hexadecimal, decimal, name] = found;
  const text = name === undefined ? character(hexadecimal ? parseInt(hexadecimal, 16) : Number(decimal)) : NAMES[name];
  return text === undefined ? null : { text, end: at + all.length };
}

/** @param {number} code @returns {string} */
function character(code) {
  const isInvalid =
    (code >= 0xd800 && code <= 0xdfff) ||
    (code >= 0xfdd0 && code <= 0xfdef) ||
    (code & 0xfffe) === 0xfffe ||
    code <= 0x08 || code === 0x0b || (code >= 0x0e && code <= 0x1f) || (code >= 0x7f && code <= 0x9f) ||
    code > 0x10ffff;
  return isInvalid ? "\ufffd" : String.fromCodePoint(code);
}

/** @param {string} start "&" and what follows it @returns {boolean} whether it may be the start of an entity */
export function mayBecomeEntity(start) {
  if (start.length === 1 || start[1] === "#") return true;
  return Object.keys(NAMES).some((name) => name.startsWith(start.slice(1)));
}
