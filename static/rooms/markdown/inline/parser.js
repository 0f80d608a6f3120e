// @ts-check
// Parses the text of one paragraph, heading or cell. The result of a closed text is that of rooms/markup; in
// an open text, marks that may still turn out otherwise are held back (LOOK2 §3).

import { characterAt, isAlphanumeric, isAsciiPunctuation } from "./characters.js";
import { balance, makeTags, scanRun } from "./delimiters.js";
import { entityAt, mayBecomeEntity } from "./entities.js";
import { bareAddress, destination, hostOf, isLink, link, normalize } from "./links.js";
import { mathAt, mayBecomeMath } from "./formula_rules.js";
import { element } from "../tree.js";

/** @typedef {import("../tree.js").Node} Node */
/** @typedef {import("./delimiters.js").Token} Token */
/** @typedef {import("./delimiters.js").Delimiter} Delimiter */

/** `nodes` with the number of those that no later text changes, and the index in the text behind these.
 * @typedef {{nodes: Node[], settled: number, at: number}} Parsed */

const PLAIN = /[^\n\\`*_~[\]<&:$]+/y;
const AUTOLINK = /<([a-z][a-z0-9+.-]{1,31}:[^<>\x00-\x20]*)>/iy;
const MAIL = /<([a-z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)>/iy;
const BREAK = /<br\s*\/?>/iy;
const NOTE = /\[\^([\w-]{1,32})\]/y;
const PATH = /(?:\\[^\s\\"<>|`*~()[\]{}]*)+/y;
const UNDECIDED = /(?:[*_~`\\]+|<(?:[a-z][^<>\s]*)?|\[(?:\^[\w-]*)?)$/i;

/** After so many characters a text is settled at the next space, and after the second at any character. */
const SETTLE_AFTER = 256;
const SETTLE_ALWAYS = 2_048;

/**
 * Parses `src` from `from` on, where an earlier call has settled the text before.
 * @param {string} src
 * @param {{open?: boolean, from?: number, inCell?: boolean}} [options] `open` if the text may go on
 * @returns {Parsed}
 */
export function parseInline(src, { open = false, from = 0, inCell = false } = {}) {
  return new InlineParser(open ? withoutUndecided(src, from) : src.trimEnd(), open, from, inCell).parse();
}

/** @param {string} src @param {number} from */
function withoutUndecided(src, from) {
  const tail = Math.max(from, src.length - 300);
  let end = src.slice(tail);
  end = end.replace(UNDECIDED, "");
  const entity = /&#?\w{0,8}$/.exec(end);
  if (entity && mayBecomeEntity(entity[0])) end = end.slice(0, entity.index);
  return src.slice(0, tail) + end;
}

class InlineParser {
  /** @type {Node[]} */
  nodes = [];
  /** @type {Token[]} */
  tokens = [];
  /** @type {Delimiter[]} */
  delimiters = [];
  /** Indices of the tokens of open brackets. @type {{token: number, at: number, isActive: boolean}[]} */
  brackets = [];
  /** Runs of backticks by length, with the index of the last one. @type {Map<number, number> | undefined} */
  backticks;
  pending = "";

  /** @param {string} src @param {boolean} open @param {number} from @param {boolean} inCell */
  constructor(src, open, from, inCell) {
    this.src = src;
    this.open = open;
    this.inCell = inCell;
    this.at = from;
    this.settledAt = from;
    this.triedAt = from;
    this.settled = 0;
    this.lastLine = open ? src.lastIndexOf("\n") + 1 : Infinity;
  }

  /** @returns {Parsed} */
  parse() {
    const { src } = this;
    if (this.at === 0) while (src[this.at] === " " || src[this.at] === "\t") this.at += 1;
    while (this.at < src.length) {
      if (this.at - Math.max(this.settledAt, this.triedAt) > SETTLE_ALWAYS) this.#settle("");
      PLAIN.lastIndex = this.at;
      const plain = PLAIN.exec(src);
      if (plain) this.#text(plain[0]);
      else if (!this.#special(src[this.at])) this.#take(1);
    }
    if (this.open) this.#closeOpen();
    this.nodes.push(...this.#resolve());
    return { nodes: this.nodes, settled: this.settled, at: this.settledAt };
  }

  /** @param {string} text */
  #text(text) {
    const end = this.at + text.length;
    if (end - Math.max(this.settledAt, this.triedAt) > SETTLE_AFTER) {
      const space = text.lastIndexOf(" ");
      let cut = space;
      while (cut > 0 && text[cut - 1] === " ") cut -= 1;
      if (cut > 0) this.#settle(text.slice(0, cut));
      else if (space < 0 && end - this.settledAt > SETTLE_ALWAYS) this.#settle(text.slice(0, wholeLength(text)));
    }
    this.#take(end - this.at);
  }

  /** Settles the text up to here with `more`, if no open mark can change it. @param {string} more */
  #settle(more) {
    this.triedAt = this.at + more.length;
    const isLong = this.triedAt - this.settledAt > SETTLE_ALWAYS;
    if (!isLong && (this.brackets.length || this.#hasOpenDelimiter())) return;
    this.#take(more.length);
    this.nodes.push(...this.#resolve());
    this.brackets = [];
    this.settled = this.nodes.length;
    this.settledAt = this.at;
  }

  #hasOpenDelimiter() {
    if (!this.delimiters.length) return false;
    const copy = this.delimiters.map((one) => ({ ...one }));
    balance(copy);
    return copy.some((one) => one.open && one.end < 0);
  }

  /** Adds characters of the source as text. @param {number} count */
  #take(count) {
    this.pending += this.src.slice(this.at, this.at + count);
    this.at += count;
  }

  /** @param {Token["type"]} type @param {string} text @param {Node} [node] @returns {number} its index */
  #push(type, text, node) {
    this.#flush();
    return this.tokens.push({ type, text, tag: "", node }) - 1;
  }

  #flush() {
    if (this.pending) this.tokens.push({ type: "text", text: this.pending, tag: "" });
    this.pending = "";
  }

  /** @param {Node} node @param {number} end */
  #node(node, end) {
    this.#push("node", "", node);
    this.at = end;
    return true;
  }

  /** @param {string} mark @returns {boolean} whether it was more than one character of text */
  #special(mark) {
    if (mark === "\n") return this.#newline();
    if (mark === "\\") return this.#backslash();
    if (mark === "`") return this.#code();
    if (mark === "[") return this.#openBracket();
    if (mark === "]") return this.#closeBracket();
    if (mark === "<") return this.#angle();
    if (mark === "&") return this.#entity();
    if (mark === ":") return this.#address();
    if (mark === "$") return this.#math();
    return this.#run(mark);
  }

  #newline() {
    this.pending = this.pending.replace(/ +$/, "");
    this.#node(element("br"), this.at + 1);
    while (this.src[this.at] === " " || this.src[this.at] === "\t") this.at += 1;
    return true;
  }

  #backslash() {
    const { src, at } = this;
    const math = mathAt(src, at);
    if (math) return this.#node(element("span", { class: "math" }, [math.text]), math.end);
    const isShare = src.startsWith("\\\\", at) && !isAlphanumeric(src[at - 1] ?? " ");
    if (isShare || /(?:^|[^\p{L}\p{N}])[A-Za-z]:$/u.test(src.slice(Math.max(0, at - 3), at))) {
      PATH.lastIndex = at;
      this.#take(PATH.exec(src)?.[0].length ?? 1);
      return true;
    }
    if (src.startsWith("\\\\", at)) return this.#literal("\\\\");
    if (src[at + 1] === "\n") return this.#hardBreak();
    const next = characterAt(src, at + 1);
    return next !== "" && this.#node(isAsciiPunctuation(next) ? next : `\\${next}`, at + 1 + next.length);
  }

  #hardBreak() {
    this.at += 1;
    return this.#newline();
  }

  #code() {
    const { src, at } = this;
    let end = at;
    while (src[end] === "`") end += 1;
    const marker = src.slice(at, end);
    this.backticks ??= lastRuns(src);
    if ((this.backticks.get(marker.length) ?? -1) < end) {
      if (at < this.lastLine) return this.#literal(marker);
      return this.#node(element("code", {}, [src.slice(end).replace(/^ /, "")]), src.length);
    }
    let start = src.indexOf("`", end);
    let close = start;
    for (; start >= 0; start = src.indexOf("`", close)) {
      close = start;
      while (src[close] === "`") close += 1;
      if (close - start === marker.length) break;
    }
    const content = src.slice(end, start).replaceAll("\n", " ");
    const isPadded = content.startsWith(" ") && content.endsWith(" ") && /[^ ]/.test(content);
    return this.#node(element("code", {}, [isPadded ? content.slice(1, -1) : content]), close);
  }

  /** @param {string} marker */
  #literal(marker) {
    this.#take(marker.length);
    return true;
  }

  #openBracket() {
    NOTE.lastIndex = this.at;
    const note = NOTE.exec(this.src);
    if (note) return this.#node(element("sup", { class: "footnote-ref" }, [note[1]]), NOTE.lastIndex);
    const token = this.#push("text", "[");
    this.brackets.push({ token, at: this.at, isActive: true });
    this.at += 1;
    return true;
  }

  #closeBracket() {
    const bracket = this.brackets.at(-1);
    if (!bracket) return false;
    const { src, at } = this;
    const isUndecided = this.open && bracket.isActive && bracket.at >= this.lastLine;
    if (isUndecided && at + 1 >= src.length) return this.#stop();
    const found = bracket.isActive && src[at + 1] === "(" ? destination(src, at + 2) : null;
    if (found === "open" && isUndecided) return this.#stop();
    this.brackets.pop();
    if (!found || found === "open") return false;
    const children = this.#resolve(bracket.token);
    for (const other of this.brackets) other.isActive = false;
    for (const node of link(found.href, withoutLinks(children))) this.#push("node", "", node);
    this.at = found.end;
    return true;
  }

  /** Ends the text here, because what follows is not decided. */
  #stop() {
    this.at = this.src.length;
    return true;
  }

  #angle() {
    const { src, at } = this;
    BREAK.lastIndex = at;
    if (this.inCell && BREAK.test(src)) return this.#node(element("br"), BREAK.lastIndex);
    AUTOLINK.lastIndex = MAIL.lastIndex = at;
    const found = AUTOLINK.exec(src) ?? MAIL.exec(src);
    if (!found) return false;
    const url = found[1];
    const isMail = !AUTOLINK.test(found[0]) && !/^[a-z][a-z0-9+.-]{1,31}:/i.test(url);
    const href = normalize(isMail ? `mailto:${url}` : url);
    if (!isLink(href)) return false;
    for (const node of link(href, [url])) this.#push("node", "", node);
    this.at = at + found[0].length;
    return true;
  }

  #entity() {
    const entity = entityAt(this.src, this.at);
    if (!entity) return false;
    this.#push("text", entity.text);
    this.at = entity.end;
    return true;
  }

  #address() {
    const { src, at } = this;
    if (!src.startsWith("://", at)) return false;
    const scheme = /(?<![\p{L}\p{N}])https?$/iu.exec(src.slice(Math.max(0, at - 6), at))?.[0];
    if (!scheme || !this.pending.endsWith(scheme)) return false;
    const { address, end } = bareAddress(src, at - scheme.length, this.delimiters);
    if (end <= at + 3) return false;
    const href = normalize(address);
    this.pending = this.pending.slice(0, -scheme.length);
    if (hostOf(href)) for (const node of link(href, [address])) this.#push("node", "", node);
    else this.pending += address;
    this.at = end;
    return true;
  }

  #math() {
    const math = mathAt(this.src, this.at);
    if (math) return this.#node(element("span", { class: "math" }, [math.text]), math.end);
    if (this.at < this.lastLine || !mayBecomeMath(this.src, this.at)) return false;
    this.at += 1; // the formula goes on: its sign is held back
    return true;
  }

  /** @param {string} marker */
  #run(marker) {
    const { open, close, length } = scanRun(this.src, this.at);
    if (marker === "~" && length < 2) return false;
    if (marker === "~" && length % 2) this.#push("text", "~");
    const width = marker === "~" ? 2 : 1;
    for (let count = Math.floor(length / width); count > 0; count -= 1) {
      const token = this.#push("text", marker.repeat(width));
      this.delimiters.push({ marker, length: width === 2 ? 0 : length, token, end: -1, open, close });
    }
    this.at += length;
    return true;
  }

  /** Closes what is open in the last line of an open text, and hides its brackets. */
  #closeOpen() {
    this.#flush();
    const copy = this.delimiters.map((one) => ({ ...one }));
    balance(copy);
    const lastBreak = this.tokens.findLastIndex(({ node }) => typeof node === "object" && node.tag === "br");
    const opened = copy.filter(({ open, end, token }) => open && end < 0 && token > lastBreak);
    for (const { marker, length, token } of opened.reverse()) {
      const before = this.tokens[token - 1];
      const isInWord = length === 1 && before?.type === "text" && /[\p{L}\p{N}]$/u.test(before.text);
      if (isInWord || token === this.tokens.length - 1) continue;
      const end = this.#push("text", "");
      this.delimiters.push({ marker, length, token: end, end: -1, open: false, close: true });
    }
    for (const { token, at, isActive } of this.brackets) {
      const isInWord = /[A-Za-z0-9_\])]/.test(this.src[at - 1] ?? "");
      if (isActive && at >= this.lastLine && !isInWord) this.tokens[token].text = "";
    }
  }

  /** Returns the nodes of the tokens from `from` on, and removes these; without an opening bracket. @param {number} [from] */
  #resolve(from) {
    this.#flush();
    const start = from ?? 0;
    const delimiters = this.delimiters.filter(({ token }) => token >= start);
    this.delimiters = this.delimiters.filter(({ token }) => token < start);
    balance(delimiters);
    makeTags(this.tokens, delimiters);
    const tokens = this.tokens.splice(start);
    return nest(from === undefined ? tokens : tokens.slice(1));
  }
}

/** @param {Token[]} tokens @returns {Node[]} */
function nest(tokens) {
  /** @type {Node[]} */
  const root = [];
  const stack = [root];
  for (const { type, text, tag, node } of tokens) {
    const inside = stack[stack.length - 1];
    if (type === "node" && node) inside.push(node);
    else if (type === "close") stack.pop();
    else if (type === "open") {
      const made = element(tag);
      inside.push(made);
      stack.push(made.children);
    } else if (typeof inside.at(-1) === "string") inside[inside.length - 1] += text;
    else if (text) inside.push(text);
  }
  return root;
}

/** Replaces links by their text: a link has no links. @param {Node[]} nodes @returns {Node[]} */
function withoutLinks(nodes) {
  return nodes.flatMap((node) => {
    if (typeof node === "string") return [node];
    if (node.tag === "a") return node.children;
    return [{ ...node, children: withoutLinks(node.children) }];
  });
}

/** @param {string} src @returns {Map<number, number>} */
function lastRuns(src) {
  const runs = new Map();
  for (const { 0: run, index } of src.matchAll(/`+/g)) runs.set(run.length, index);
  return runs;
}

/** @param {string} text @returns {number} its length without half of a surrogate pair */
function wholeLength(text) {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff ? text.length - 1 : text.length;
}
