// @ts-check
// Shows Markdown while it grows. Settled blocks are not touched again; each call of `write` changes the page once.

import { BlockParser } from "./blocks/parser.js";
import { isHeldBack, withoutTableHead } from "./blocks/held_back.js";
import { parseInline } from "./inline/parser.js";
import { withChips } from "./mention_chips.js";
import { cell, countSigns, lead, MAX_OF_ONE_SIGN, outer, plainLines, whole } from "./nodes.js";
import { element, fill, place, trim, update } from "./tree.js";

/** @typedef {import("./blocks/block.js").Block} Block */

/** The part of a text whose nodes are settled: `nodes` of them, from the index `offset` of its element on.
 * @typedef {{offset: number, prefix: string, nodes: number, counts: Record<string, number>, isPlain: boolean}} SettledText */

/** @type {SettledText} */
const NOTHING = { offset: 0, prefix: "", nodes: 0, counts: {}, isPlain: false };

export class MarkdownStream {
  #parser = new BlockParser();
  /** @type {ReturnType<BlockParser["save"]> | undefined} */
  #saved;
  #text = "";
  /** The index of the last line. */
  #at = 0;
  /** Lines that were read to their end. */
  #lines = 0;
  #isPartial = false;
  /** The block that is being written. @type {Block | undefined} */
  #last;
  /** @type {WeakMap<Element, SettledText>} */
  #texts = new WeakMap();
  /** The element that has the caret. @type {Element | undefined} */
  #caret;

  /**
   * @param {Element} body whose content is replaced
   * @param {Map<string, string>} [known] maps the folded form of each handle that can be mentioned to the handle
   */
  constructor(body, known = new Map()) {
    this.body = body;
    this.known = known;
    trim(body, 0);
  }

  /** The number of characters that are shown. */
  get length() {
    return this.#text.length;
  }

  /** Shows the whole text so far. @param {string} text */
  write(text) {
    const valid = text.includes("\r") || text.includes("\0") ? text.replace(/\r\n?/g, "\n").replaceAll("\0", "\ufffd") : text;
    if (valid === this.#text) return;
    if (!valid.startsWith(this.#text)) this.#restart();
    this.#text = valid;
    const parser = this.#parser;
    this.#readLines();
    this.#saved = parser.save();
    const line = valid.slice(this.#at);
    this.#isPartial = line !== "" && !isHeldBack(line, parser.innermost);
    if (this.#isPartial) parser.read(line, { partial: true });
    this.#show();
    // Between two blocks the caret stays at the end of the first: it would need a line of its own.
    this.#moveCaret(this.#caretPlace ?? (this.#caret?.parentNode ? this.#caret : this.body));
  }

  /** Shows the text as it is when nothing follows. @param {string} [whole] the whole text, of which the end may be missing */
  finish(whole = this.#text) {
    if (whole.startsWith(this.#text)) this.write(whole);
    this.#readLines();
    const line = this.#text.slice(this.#at);
    if (line) this.#parser.read(line, { isEnded: false });
    this.#at = this.#text.length;
    this.#parser.finish();
    this.#lines = this.#parser.lines;
    this.#isPartial = false;
    this.#show();
    this.#moveCaret(undefined);
  }

  #restart() {
    this.#parser = new BlockParser();
    this.#saved = undefined;
    this.#at = this.#lines = 0;
    trim(this.body, 0);
  }

  #readLines() {
    if (this.#saved) this.#parser.restore(this.#saved);
    this.#saved = undefined;
    for (let end = this.#text.indexOf("\n", this.#at); end >= 0; end = this.#text.indexOf("\n", this.#at)) {
      this.#parser.read(this.#text.slice(this.#at, end));
      this.#at = end + 1;
    }
    this.#lines = this.#parser.lines;
  }

  /** @type {Element | undefined} */
  #caretPlace;

  #show() {
    this.#last = this.#parser.root;
    while (this.#last?.children.length) this.#last = this.#last.children.at(-1);
    this.#caretPlace = undefined;
    this.#showChildren(this.#parser.root, this.body);
  }

  /** @param {Block} one a container @param {Element} target */
  #showChildren(one, target) {
    const before = lead(one);
    if (!one.done) update(target, before);
    let at = one.done ? one.doneNodes : before.length;
    for (let index = one.done; index < one.children.length; index += 1) {
      const child = one.children[index];
      const isFinal = child.closed <= this.#lines;
      at += this.#showBlock(child, target, at, one.kind === "item" && index === 0, isFinal);
      if (!isFinal || index !== one.done) continue;
      one.done += 1;
      one.doneNodes = at;
    }
    trim(target, at);
  }

  /**
   * @param {Block} one
   * @param {Element} parent
   * @param {number} at the index of its first node in `parent`
   * @param {boolean} isFlowing whether its text stands in `parent` itself
   * @param {boolean} isFinal
   * @returns {number} the number of its nodes in `parent`
   */
  #showBlock(one, parent, at, isFlowing, isFinal) {
    if (one.kind === "paragraph" || one.kind === "heading" || one.kind === "note") {
      const text = this.#textOf(one, isFinal);
      if (text === "" && one.kind === "paragraph") return 0;
      if (isFlowing && one.kind === "paragraph") return this.#showText(one, text, parent, at, isFinal);
      const target = /** @type {Element} */ (place(parent, at, outer(one)));
      const before = lead(one);
      update(target, before);
      trim(target, before.length + this.#showText(one, text, target, before.length, isFinal));
      return 1;
    }
    if (one.kind === "quote" || one.kind === "list" || one.kind === "item") {
      this.#showChildren(one, /** @type {Element} */ (place(parent, at, outer(one))));
      return 1;
    }
    if (one.kind === "table") {
      this.#showTable(one, /** @type {Element} */ (place(parent, at, element("div", { class: "table-scroll" }))));
      return 1;
    }
    this.#showWhole(one, parent, at, isFinal);
    return 1;
  }

  /** @param {Block} one @param {Element} parent @param {number} at @param {boolean} isFinal */
  #showWhole(one, parent, at, isFinal) {
    const node = whole(one, isFinal);
    const target = /** @type {Element} */ (place(parent, at, node));
    fill(target, node);
    if (one === this.#last && (one.kind === "fence" || one.kind === "code")) this.#caretPlace = deepest(target);
  }

  /** @param {Block} one @param {boolean} isFinal @returns {string} what is shown of its text */
  #textOf(one, isFinal) {
    const text = one.kind === "paragraph" && !isFinal && one.closed === Infinity ? withoutTableHead(one.text) : one.text;
    return text.endsWith("\n") ? text.slice(0, -1) : text;
  }

  /** @param {Block} one @param {string} text @param {Element} target @param {number} offset @param {boolean} isFinal @returns {number} */
  #showText(one, text, target, offset, isFinal) {
    const open = this.#isPartial && !isFinal && one === this.#last;
    let state = this.#texts.get(target);
    if (!state || state.offset !== offset || !text.startsWith(state.prefix)) state = { ...NOTHING, offset, counts: {} };
    const from = state.prefix.length;
    if (one === this.#last) this.#caretPlace = target;
    const isPlain = text.length > MAX_OF_ONE_SIGN && countSigns(text, from, { ...state.counts }) > MAX_OF_ONE_SIGN;
    if (isPlain || state.isPlain) return this.#showPlain(text, target, state.isPlain ? state : { ...NOTHING, offset, isPlain });
    const parsed = parseInline(text, { open, from });
    const known = target.closest("blockquote") ? new Map() : this.known; // a mention in a quote is only text
    const settled = withChips(parsed.nodes.slice(0, parsed.settled), known);
    const nodes = [...settled, ...withChips(parsed.nodes.slice(parsed.settled), known)];
    update(target, nodes, offset + state.nodes);
    const count = state.nodes + nodes.length;
    if (parsed.at > from) {
      const prefix = text.slice(0, parsed.at);
      countSigns(prefix, from, state.counts);
      state = { ...state, prefix, nodes: state.nodes + settled.length };
    }
    this.#texts.set(target, state);
    return count;
  }

  /** Shows lines without formatting. @param {string} text @param {Element} target @param {SettledText} state @returns {number} */
  #showPlain(text, target, state) {
    const lines = plainLines(text.slice(state.prefix.length));
    update(target, lines, state.offset + state.nodes);
    const count = state.nodes + lines.length;
    this.#texts.set(target, { ...state, prefix: text.slice(0, text.lastIndexOf("\n") + 1), nodes: count - 1 });
    return count;
  }

  /** @param {Block} one @param {Element} target */
  #showTable(one, target) {
    const table = /** @type {Element} */ (place(target, 0, element("table")));
    const head = /** @type {Element} */ (place(table, 0, element("thead")));
    const body = one.rows.length > 1 ? /** @type {Element} */ (place(table, 1, element("tbody"))) : null;
    const isWritten = this.#isPartial && one === this.#last;
    for (let at = one.done; at < one.rows.length; at += 1) {
      const isOpen = isWritten && at === one.rows.length - 1;
      const cells = one.rows[at].map((text, column) =>
        cell(at ? "td" : "th", text, one.aligns[column], isOpen && column === one.level - 1),
      );
      const row = element("tr", {}, target.closest("blockquote") ? cells : withChips(cells, this.known));
      const shown = /** @type {Element} */ (place(at && body ? body : head, at ? at - 1 : 0, row));
      fill(shown, row);
      if (one === this.#last) this.#caretPlace = shown.children[Math.max(0, one.level - 1)] ?? shown;
    }
    one.done = Math.max(one.done, one.rows.length - Number(isWritten));
    if (body) trim(body, one.rows.length - 1);
    trim(table, body ? 2 : 1);
  }

  /** @param {Element | undefined} target */
  #moveCaret(target) {
    if (this.#caret === target) return;
    this.#caret?.removeAttribute("data-caret");
    target?.setAttribute("data-caret", "");
    this.#caret = target;
  }
}

/** @param {Element} target @returns {Element} */
function deepest(target) {
  return target.lastElementChild ? deepest(target.lastElementChild) : target;
}
