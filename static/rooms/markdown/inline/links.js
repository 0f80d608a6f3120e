// @ts-check
// Addresses: where a bare address ends, how a link is normalized, and the host that it shows. The rules
// of rooms/markup/links.py.

import { characterAt, endsAddress, isAlphanumeric, isAsciiPunctuation, script } from "./characters.js";
import { entityAt } from "./entities.js";
import { element, textOf } from "../tree.js";

/** @typedef {import("../tree.js").Node} Node */
/** @typedef {import("./delimiters.js").Delimiter} Delimiter */

const MAX_ADDRESS = 2_048;
const REL = "noopener noreferrer nofollow ugc";
const CLOSING = /** @type {Record<string, string>} */ ({ "(": ")", "[": "]", "{": "}" });
const BAD_SCHEME = /^(?:vbscript|javascript|file|data):/i;
const MAIL_ADDRESS = /^[^\s/:@]+@[^\s/:@]+$/;
const IDN_REST = /^[\p{L}\p{N}_-]+(?:\.[\p{L}\p{N}_-]+)*\.[a-z]{2,}(?::\d+)?$/u;

/** Percent-encodes what may not stand in an address, and writes its host in ASCII; "" if the host is not valid. @param {string} url */
export function normalize(url) {
  const parts = /^((?:https?|mailto):)(\/\/[^/?#]*)?(.*)$/is.exec(url);
  if (!parts) return encode(url);
  const [, scheme, authority = "", rest] = parts;
  if (!/[[\]]/.test(authority)) return encode(scheme + asciiHost(authority) + rest);
  return /^\/\/\[[0-9a-f:.]+\](?::\d+)?$/i.test(authority) ? encode(scheme) + authority + encode(rest) : "";
}

/** @param {string} authority "//user@host:port" */
function asciiHost(authority) {
  const parts = /^(\/\/(?:[^@]*@)?)([^:]*)(.*)$/s.exec(authority);
  if (!parts || !/[^\x00-\x7f]/.test(parts[2])) return authority;
  try {
    return parts[1] + new URL(`http://${parts[2]}`).hostname + parts[3];
  } catch {
    return authority;
  }
}

/** @param {string} text */
function encode(text) {
  return text
    .toWellFormed()
    .replace(/%(?![0-9a-f]{2})|[^A-Za-z0-9;/?:@&=+$,\-_.!~*'()#%]+/gi, (part) => encodeURIComponent(part));
}

/** @param {string} href @returns {boolean} whether markdown-it makes a link of it */
export const isLink = (href) => !BAD_SCHEME.test(href.trim());

/** @param {string} url @returns {string} the host of a link; "" if the link is not allowed */
export function hostOf(url) {
  const parts = /^(https?|mailto):(.*)$/is.exec(url);
  if (!parts) return "";
  const rest = parts[2];
  if (parts[1].toLowerCase() === "mailto") {
    const path = rest.replace(/[?#].*$/s, "");
    return path.slice(path.lastIndexOf("@") + 1).toLowerCase();
  }
  const network = /^\/\/([^/?#]*)/.exec(rest)?.[1] ?? "";
  if (network.includes("@") || url.includes("\\") || network.includes("%5C")) return "";
  const host = network.startsWith("[") ? network.slice(1, network.indexOf("]")) : network.replace(/:.*$/s, "");
  return host.toLowerCase().replace(/^www\./, "");
}

/** Returns a link with its host, or its text if the link is not allowed. @param {string} href @param {Node[]} children @returns {Node[]} */
export function link(href, children) {
  const host = hostOf(href);
  if (!host) return children;
  const anchor = element("a", { href, target: "_blank", rel: REL }, children);
  const shown = textOf(children).trim().toLowerCase();
  const said = [shown.replace(/^www\./, ""), hostOf(shown)];
  if (/^mailto:/i.test(href) && MAIL_ADDRESS.test(shown)) said.push(shown.slice(shown.lastIndexOf("@") + 1));
  if (said.includes(host)) return [anchor];
  return [anchor, " ", element("bdi", { class: "link-host" }, [`(${host})`])];
}

/**
 * Returns the bare address at `start` with its end, escapes resolved.
 * @param {string} src
 * @param {number} start
 * @param {Delimiter[]} delimiters before it
 * @returns {{address: string, end: number}}
 */
export function bareAddress(src, start, delimiters) {
  const limit = Math.min(src.length, start + MAX_ADDRESS);
  const opened = { "*": openRun(delimiters, "*"), _: openRun(delimiters, "_"), "~": openRun(delimiters, "~") };
  /** @type {string[]} */
  const brackets = [];
  let address = "";
  /** @type {number[]} */
  const ends = [];
  for (let at = start; at < limit && !endsAddress(characterAt(src, at)); ) {
    const { character, end } = unescaped(src, at);
    const isPlain = end === at + character.length && src[at] !== "\\";
    if (!character || (isPlain && isOutside(src, at, brackets, opened))) break;
    address += character;
    for (let unit = 0; unit < character.length; unit += 1) ends.push(end);
    at = end;
  }
  address = beforeOtherScript(address).replace(/[.,:;!?…]+$/, "");
  return { address, end: ends[address.length - 1] ?? start };
}

/** @param {string} src @param {number} at */
function unescaped(src, at) {
  if (src[at] === "\\" && isAsciiPunctuation(src[at + 1] ?? " ")) return { character: src[at + 1], end: at + 2 };
  const entity = src[at] === "&" ? /^&(?:#\w{1,8}|[a-z]\w{1,31});/i.exec(src.slice(at, at + 34)) : null;
  if (entity) return { character: /^&amp;$/i.test(entity[0]) ? "&" : "", end: at + entity[0].length };
  const character = characterAt(src, at);
  return { character, end: at + character.length };
}

/** @param {string} src @param {number} at @param {string[]} brackets @param {Record<string, number>} opened */
function isOutside(src, at, brackets, opened) {
  const character = src[at];
  if (character in CLOSING) {
    brackets.push(CLOSING[character]);
    return false;
  }
  if (")]}".includes(character)) return brackets.pop() !== character;
  const length = opened[character];
  if (!length || !src.startsWith(character.repeat(length), at)) return false;
  return character !== "_" || !isAlphanumeric(characterAt(src, at + length) || " ");
}

/** @param {Delimiter[]} delimiters @param {string} marker @returns {number} the length of the run that is open, or 0 */
function openRun(delimiters, marker) {
  let length = 0;
  for (let at = 0; at < delimiters.length; at += 1) {
    const one = delimiters[at];
    if (one.marker === marker) {
      if (length > 0 && one.close) length = 0;
      else if (one.open) length = one.length || 2;
    }
    while (delimiters[at + 1]?.token === delimiters[at].token + 1 && delimiters[at + 1].marker === one.marker) at += 1;
  }
  return length;
}

/** Cuts an address where its host goes on in another script, or its port in a word. @param {string} address */
function beforeOtherScript(address) {
  const start = address.indexOf("://") + 3;
  let end = start + address.slice(start).search(/[/?#]|$/);
  const port = address.slice(start, end).indexOf(":") + start;
  if (port >= start && address[start] !== "[") {
    const digits = port + 1 + address.slice(port + 1, end).search(/\D|$/);
    if (digits < end) return address.slice(0, digits);
    end = port;
  }
  for (let at = start + 1; at < end; at += 1) {
    const [before, character] = [address[at - 1], address[at]];
    if (!isAlphanumeric(character) || !isAlphanumeric(before) || goTogether(before, character)) continue;
    const name = address.slice(start, at);
    if ((name.includes(".") || name === "localhost") && !IDN_REST.test(address.slice(at, end))) return address.slice(0, at);
  }
  return address;
}

/** @param {string} before @param {string} after */
function goTogether(before, after) {
  const scripts = new Set([script(before), script(after)]);
  return scripts.size === 1 || (scripts.has("han") && scripts.has("kana"));
}

/**
 * Reads "(destination "title")" behind the text of a link.
 * @param {string} src
 * @param {number} start behind the parenthesis
 * @returns {{href: string, end: number} | "open" | null} "open" if the text ends before the link; null if
 *   it is no link
 */
export function destination(src, start) {
  let at = skipSpace(src, start);
  if (at >= src.length) return "open";
  let href = "";
  const found = src[at] === "<" ? inAngles(src, at) : bareDestination(src, at);
  if (found === "open") return "open";
  if (found) {
    const normal = normalize(found.text);
    if (isLink(normal)) {
      href = normal;
      at = found.end;
    }
  }
  const behind = skipSpace(src, at);
  if (behind >= src.length) return "open";
  if (behind !== at && `"'(`.includes(src[behind])) {
    const title = endOfTitle(src, behind);
    if (title === "open") return "open";
    if (title) at = skipSpace(src, title);
    else at = behind;
  } else {
    at = behind;
  }
  if (at >= src.length) return "open";
  return src[at] === ")" ? { href, end: at + 1 } : null;
}

/** @param {string} src @param {number} at */
function skipSpace(src, at) {
  while (src[at] === " " || src[at] === "\t" || src[at] === "\n") at += 1;
  return at;
}

/** @param {string} src @param {number} at @returns {{text: string, end: number} | "open" | null} */
function inAngles(src, at) {
  for (let end = at + 1; end < src.length; end += 1) {
    if (src[end] === "\n" || src[end] === "<") return null;
    if (src[end] === ">") return { text: unescapeAll(src.slice(at + 1, end)), end: end + 1 };
    if (src[end] === "\\") end += 1;
  }
  return "open";
}

/** @param {string} src @param {number} at @returns {{text: string, end: number} | "open" | null} */
function bareDestination(src, at) {
  let level = 0;
  let end = at;
  for (; end < src.length; end += 1) {
    const character = src[end];
    if (character <= " " || character === "\x7f") break;
    if (character === "\\" && end + 1 < src.length) {
      if (src[end + 1] === " ") break;
      end += 1;
    } else if (character === "(") {
      level += 1;
      if (level > 32) return null;
    } else if (character === ")") {
      if (level === 0) break;
      level -= 1;
    }
  }
  if (end >= src.length) return "open";
  return end === at || level ? null : { text: unescapeAll(src.slice(at, end)), end };
}

/** @param {string} src @param {number} at @returns {number | "open" | null} */
function endOfTitle(src, at) {
  const closing = src[at] === "(" ? ")" : src[at];
  for (let end = at + 1; end < src.length; end += 1) {
    if (src[end] === closing) return end + 1;
    if (src[end] === "(" && closing === ")") return null;
    if (src[end] === "\\") end += 1;
  }
  return "open";
}

/** Resolves escapes and entities. @param {string} text */
function unescapeAll(text) {
  if (!/[\\&]/.test(text)) return text;
  return text.replace(/\\([!-/:-@[-`{-~])|&[#\w]{1,33};/g, (part, escaped) => escaped ?? entityAt(part, 0)?.text ?? part);
}
