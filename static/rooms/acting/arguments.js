// @ts-check
// The arguments of a call as names and values; rooms/pages/acting/argument_rows.py does the same.
//
// Values that are not strings are shown as they are stored: a number that is parsed may be another number.

/** @typedef {import("../timeline/layout_rules.js").LayoutRules} LayoutRules */

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]/gu;
const SPACES = " \t\n\r";

/**
 * @param {string} text a JSON object; another text is one row
 * @param {LayoutRules} rules
 * @returns {{rows: [string, string][], isCut: boolean}} the first lines; `isCut` says that there is more
 */
export function argumentRows(text, rules) {
  /** @type {[string, string][]} */
  const rows = [];
  let left = rules.argument_lines;
  for (const [name, value] of pairs(text)) {
    if (left === 0) return { rows, isCut: true };
    const first = firstLines(visible(value), left, rules.argument_columns);
    rows.push([visible(name), first.text]);
    if (first.isCut) return { rows, isCut: true };
    left -= first.used;
  }
  return { rows, isCut: false };
}

/**
 * Escapes characters without a look, or with an effect on others: a value must not look like another one.
 * @param {string} text @returns {string}
 */
export function visible(text) {
  return text.replace(INVISIBLE, (character) => {
    if (character === "\n") return character;
    const number = (character.codePointAt(0) ?? 0).toString(16);
    return number.length > 4 ? `\\u{${number}}` : `\\u${number.padStart(4, "0")}`;
  });
}

/** @param {string} text @param {number} most @param {number} columns @returns {{text: string, used: number, isCut: boolean}} */
function firstLines(text, most, columns) {
  const lines = [];
  let used = 0;
  for (const line of text.split("\n")) {
    const characters = Array.from(line);
    const needed = Math.max(1, Math.ceil(characters.length / columns));
    if (used + needed > most) {
      const start = characters.slice(0, (most - used) * columns).join("");
      return { text: `${[...lines, start].join("\n")}…`, used: most, isCut: true };
    }
    lines.push(line);
    used += needed;
  }
  return { text, used, isCut: false };
}

/** @param {string} text @returns {[string, string][]} */
function pairs(text) {
  try {
    const whole = JSON.parse(text);
    if (typeof whole !== "object" || whole === null || Array.isArray(whole)) return [["", text]];
  } catch {
    return [["", text]];
  }
  /** @type {[string, string][]} */
  const found = [];
  let at = skip(text, text.indexOf("{") + 1);
  while (text[at] !== "}") {
    const nameEnd = endOf(text, at);
    const name = JSON.parse(text.slice(at, nameEnd));
    const start = skip(text, text.indexOf(":", nameEnd) + 1);
    const end = endOf(text, start);
    const source = text.slice(start, end);
    found.push([name, source.startsWith('"') ? JSON.parse(source) : source]);
    at = skip(text, end);
    if (text[at] === ",") at = skip(text, at + 1);
  }
  return found;
}

/** @param {string} text @param {number} at the start of a value @returns {number} its end */
function endOf(text, at) {
  let depth = 0;
  for (let end = at; ; end += 1) {
    const sign = text[end];
    if (sign === '"') end = stringEnd(text, end);
    else if (sign === "{" || sign === "[") depth += 1;
    else if (depth && (sign === "}" || sign === "]")) depth -= 1;
    else if (!depth && (sign === undefined || ",:}]".includes(sign) || SPACES.includes(sign))) return end;
    if (!depth && (sign === '"' || sign === "}" || sign === "]")) return end + 1;
  }
}

/** @param {string} text @param {number} at of the first quote @returns {number} that of the last one */
function stringEnd(text, at) {
  let end = at + 1;
  while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  return end;
}

/** @param {string} text @param {number} at @returns {number} */
function skip(text, at) {
  while (SPACES.includes(text[at])) at += 1;
  return at;
}
