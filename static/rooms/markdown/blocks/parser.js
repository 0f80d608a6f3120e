// @ts-check
// Parses the blocks of Markdown line by line, as CommonMark's reference parser does, with the rules of
// rooms/markup: no underlined headings, no definitions, no HTML. A line is read once; only open blocks change.

import { accepts, block, isContainer, isText } from "./block.js";
import { Cursor } from "./cursor.js";
import { delimiterRow, splitRow } from "./table_rules.js";

/** @typedef {import("./block.js").Block} Block */
/** @typedef {import("./block.js").Kind} Kind */

/** Deeper containers are not opened: the server shows such a text without formatting. */
const MAX_DEPTH = 24;
/** As in rooms/markup/as_typed.py. */
const MAX_CELLS = 2_000;

const HEADING = /^#{1,6}(?=[ \t]|$)/;
const FENCE = /^(?:`{3,}(?!.*`)|~{3,})/;
const RULE = /^(?:\*[ \t]*){3,}$|^(?:_[ \t]*){3,}$|^(?:-[ \t]*){3,}$/;
const BULLET = /^[*+-](?=[ \t]|$)/;
const NUMBER = /^(\d{1,9})([.)])(?=[ \t]|$)/;
const TASK = /^\[([ xX])\][ \t]/;
const NOTE = /^\[\^([\w-]{1,32})\]:[ \t]*/;
const MATH = /^(?:\$\$(?!\$)|\\\[(?=\s|$))/;

export class BlockParser {
  root = block("root");
  /** The open blocks, from the root to the innermost. @type {Block[]} */
  open = [this.root];
  /** The number of lines that were read. */
  lines = 0;
  /** Whether the line that is read may still grow. */
  #partial = false;
  #end = "\n";
  /** Whether no block begins in the rest of the line. */
  #isAllText = false;
  #cells = 0;
  #cursor = new Cursor();
  #matched = this.root;

  get innermost() {
    return this.open[this.open.length - 1];
  }

  /** Returns what `restore` needs to undo later lines; open blocks only. */
  save() {
    const blocks = this.open.map((one) => ({ one, fields: { ...one }, children: one.children.length, rows: one.rows.length }));
    return { blocks, open: [...this.open], lines: this.lines, cells: this.#cells };
  }

  /** @param {ReturnType<BlockParser["save"]>} saved */
  restore({ blocks, open, lines, cells }) {
    for (const { one, fields, children, rows } of blocks) {
      const { done, doneNodes } = one;
      Object.assign(one, fields, { done, doneNodes });
      one.children.length = children;
      one.rows.length = rows;
    }
    this.open = open;
    this.lines = lines;
    this.#cells = cells;
  }

  /**
   * Reads a line without its end.
   * @param {string} line
   * @param {{partial?: boolean, isEnded?: boolean}} [options] `partial` if the line may still grow; `isEnded` is
   *   false if the text has no line break behind it
   */
  read(line, { partial = false, isEnded = !partial } = {}) {
    this.#cursor.start(line);
    this.#partial = partial;
    this.#end = isEnded ? "\n" : "";
    this.#isAllText = false;
    this.lines += 1;
    const depth = this.#matchOpen();
    if (depth === -1) return; // the line has closed a block of code or a formula
    const isLazy = depth < this.open.length - 1;
    this.#matched = this.open[depth];
    const started = this.#startBlocks(depth);
    if (!started && isLazy && !this.#cursor.isBlank && isText(this.innermost)) return this.#addText(true);
    if (!started) this.#closeTo(depth);
    this.#addLine(started);
  }

  /** Closes all blocks. */
  finish() {
    this.lines += 1;
    this.#closeTo(-1);
  }

  /** @returns {number} the depth to which the line continues the open blocks; -1 if it closed one and is used */
  #matchOpen() {
    for (let depth = 1; depth < this.open.length; depth += 1) {
      this.#cursor.find();
      const one = this.open[depth];
      if (one.kind === "list") continue;
      const goesOn = this.#continues(one);
      if (goesOn === "end") {
        this.#closeTo(depth - 1);
        return -1;
      }
      if (!goesOn) return depth - 1;
    }
    this.#cursor.find();
    return this.open.length - 1;
  }

  /** @param {Block} one @returns {boolean | "end"} */
  #continues(one) {
    if (one.kind === "quote") return this.#continuesQuote();
    if (one.kind === "item") return this.#continuesItem(one);
    if (one.kind === "fence") return this.#continuesFence(one);
    if (one.kind === "code") return this.#continuesCode();
    if (one.kind === "math") return this.#continuesMath(one);
    if (one.kind === "table") return !this.#cursor.isBlank && this.#cursor.indent < 4;
    return isText(one) && !this.#cursor.isBlank;
  }

  #continuesQuote() {
    if (this.#cursor.indent >= 4 || this.#cursor.rest[0] !== ">") return false;
    this.#enterQuote();
    return true;
  }

  #enterQuote() {
    this.#cursor.skip(1);
    if (this.#cursor.indent) this.#cursor.advance(1);
  }

  /** @param {Block} item */
  #continuesItem(item) {
    if (this.#cursor.isBlank) {
      if (!item.children.length) return false;
      this.#cursor.skip();
      return true;
    }
    if (this.#cursor.indent < item.indent) return false;
    this.#cursor.advance(item.indent);
    return true;
  }

  /** @param {Block} fence */
  #continuesFence(fence) {
    const closing = this.#cursor.indent < 4 ? /^(`{3,}|~{3,})[ \t]*$/.exec(this.#cursor.rest) : null;
    if (closing && closing[1][0] === fence.marker[0] && closing[1].length >= fence.marker.length) return "end";
    this.#cursor.advance(Math.min(fence.indent, this.#cursor.indent));
    return true;
  }

  #continuesCode() {
    if (this.#cursor.indent >= 4) this.#cursor.advance(4);
    else if (this.#cursor.isBlank) this.#cursor.skip();
    else return false;
    return true;
  }

  /** @param {Block} math */
  #continuesMath(math) {
    const end = this.#cursor.rest.trimEnd();
    if (this.#cursor.isBlank || !end.endsWith(math.marker)) return !this.#cursor.isBlank;
    math.text += end.slice(0, -math.marker.length);
    math.level = 1; // it is closed by its marker
    return "end";
  }

  /** Opens the blocks that begin in this line. @param {number} depth @returns {Kind | false} the last of them */
  #startBlocks(depth) {
    /** @type {Kind | false} */
    let started = false;
    if (["fence", "code", "math"].includes(this.#matched.kind)) return started;
    for (;;) {
      this.#cursor.find();
      const kind = !this.#cursor.isBlank && !this.#isAllText && (this.#cursor.indent >= 4 ? this.#startCode(depth) : this.#start(depth));
      if (!kind) return started;
      started = kind;
      if (!isContainer(kind)) return started;
      this.#matched = this.innermost;
      depth = this.open.length - 1;
    }
  }

  /** @param {number} depth @returns {Kind | false} */
  #start(depth) {
    const rest = this.#cursor.rest;
    const isFull = this.open.length > MAX_DEPTH;
    if (this.#startTable(rest)) return "table";
    if (FENCE.test(rest)) return this.#startFence(depth, rest);
    if (rest[0] === ">" && !isFull) {
      this.#enterQuote();
      return this.#add(depth, block("quote"));
    }
    if (RULE.test(rest)) {
      this.#cursor.end();
      return this.#add(depth, block("rule", { closed: this.lines }));
    }
    if (!isFull && this.#startItem(depth, rest)) return "item";
    const heading = HEADING.exec(rest);
    if (heading) return this.#startHeading(depth, rest, heading[0].length);
    return this.#startNote(depth, rest) || this.#startMath(depth, rest);
  }

  /** @param {number} depth @returns {Kind | false} */
  #startCode(depth) {
    if (isText(this.innermost)) return false; // the line continues the text
    this.#cursor.advance(4);
    return this.#add(depth, block("code"));
  }

  /** @param {number} depth @param {string} rest @returns {Kind} */
  #startFence(depth, rest) {
    const marker = /^(`+|~+)/.exec(rest)?.[0] ?? "";
    const fence = block("fence", { marker, indent: this.#cursor.indent, info: rest.slice(marker.length).trim() });
    this.#cursor.end();
    return this.#add(depth, fence);
  }

  /** @param {number} depth @param {string} rest @param {number} level @returns {Kind} */
  #startHeading(depth, rest, level) {
    const text = rest.slice(level).replace(/[ \t]+#+[ \t]*$/, "").trim();
    this.#cursor.end();
    return this.#add(depth, block("heading", { level, text, closed: this.lines }));
  }

  /** @param {number} depth @param {string} rest @returns {boolean} */
  #startItem(depth, rest) {
    const number = NUMBER.exec(rest);
    const marker = number ?? BULLET.exec(rest);
    if (!marker) return false;
    const interrupts = isText(this.#matched);
    const isEmpty = rest.slice(marker[0].length).trim() === "";
    if (interrupts && (isEmpty || (number && Number(number[1]) !== 1))) return false;
    const type = number ? number[2] : marker[0];
    const markerIndent = this.#cursor.indent;
    this.#cursor.skip(marker[0].length);
    const spaces = this.#cursor.indent;
    const width = isEmpty || spaces > 4 ? 1 : spaces;
    if (!isEmpty) this.#cursor.advance(width);
    const value = number ? Number(number[1]) : 0;
    if (this.#matched.kind !== "list" || this.#matched.marker !== type) {
      const at = this.#matched.kind === "list" ? depth - 1 : depth;
      this.#add(at, block("list", { marker: type, level: number ? 1 : 0, value, indent: value }));
      depth = this.open.length - 1;
    }
    const list = this.open[depth];
    const level = Number(number !== null && value !== list.indent); // the number does not follow the one before it
    list.indent = value + 1;
    const item = block("item", { indent: markerIndent + marker[0].length + width, value, level });
    this.#add(depth, item);
    this.#cursor.find();
    const task = isEmpty || this.#cursor.indent >= 4 ? null : TASK.exec(this.#cursor.rest);
    if (!task) return true;
    item.task = task[1] === " " ? "open" : "done";
    this.#cursor.skip(task[0].length);
    this.#isAllText = this.#cursor.indent > 0;
    return true;
  }

  /** @param {number} depth @param {string} rest @returns {Kind | false} */
  #startNote(depth, rest) {
    const note = NOTE.exec(rest);
    if (!note) return false;
    this.#cursor.skip(note[0].length);
    this.#cursor.skip();
    return this.#add(depth, block("note", { info: note[1] }));
  }

  /** @param {number} depth @param {string} rest @returns {Kind | false} */
  #startMath(depth, rest) {
    const opening = MATH.exec(rest);
    if (!opening) return false;
    const marker = opening[0] === "$$" ? "$$" : "\\]";
    const inside = rest.slice(opening[0].length).trimEnd();
    const isClosed = inside.endsWith(marker);
    const text = isClosed ? inside.slice(0, -marker.length) : inside && `${inside}\n`;
    if (text.includes(marker) || (isClosed && !text.trim())) return false;
    this.#cursor.end();
    const closed = isClosed ? this.lines : Infinity;
    return this.#add(depth, block("math", { marker, text, info: `${rest}\n`, indent: text.length, level: Number(isClosed), closed }));
  }

  /** Makes a table of the last line of a paragraph and this delimiter row. @param {string} rest @returns {boolean} */
  #startTable(rest) {
    const paragraph = this.#matched;
    if (!isText(paragraph) || this.#partial || paragraph.refused || this.innermost !== paragraph) return false;
    const aligns = delimiterRow(rest);
    if (!aligns) return false;
    const start = paragraph.text.lastIndexOf("\n", paragraph.text.length - 2) + 1;
    const head = paragraph.text.slice(start).trim();
    if (!head.includes("|") || paragraph.indent === start + 1 || (paragraph.kind === "note" && !start)) return false;
    const cells = splitRow(head);
    if (cells.length !== aligns.length || !cells.length) return false;
    const parent = this.open[this.open.length - 2];
    paragraph.text = paragraph.text.slice(0, start);
    this.#closeTo(this.open.length - 2);
    if (!paragraph.text) parent.children.pop();
    const table = block("table", { aligns, rows: [cells], text: `${head}\n${rest}\n`, value: cells.length });
    this.#cursor.end();
    this.#add(this.open.length - 1, table);
    return true;
  }

  /** Closes the blocks below `depth`, and opens one. @param {number} depth @param {Block} one @returns {Kind} */
  #add(depth, one) {
    this.#closeTo(depth);
    while (!accepts(this.innermost, one)) this.#closeTo(this.open.length - 2);
    this.innermost.children.push(one);
    this.open.push(one);
    if (one.closed !== Infinity) this.open.pop();
    return one.kind;
  }

  /** Closes the open blocks deeper than `depth`. @param {number} depth */
  #closeTo(depth) {
    while (this.open.length - 1 > Math.max(depth, -1)) {
      const one = /** @type {Block} */ (this.open.pop());
      one.closed = this.lines;
      if (one.kind === "table") this.#cells += one.value;
      if (one.kind === "math" && !one.level) this.#refuseMath(one);
      if (this.open.length === 0) {
        this.open.push(one); // the root stays
        return;
      }
    }
  }

  /** A formula that is not closed is text. @param {Block} math */
  #refuseMath(math) {
    math.kind = "paragraph";
    math.text = math.info + math.text.slice(math.indent);
  }

  /** Adds the rest of the line to the innermost block. @param {Kind | false} started the last block that begins in it */
  #addLine(started) {
    this.#cursor.find();
    const one = this.innermost;
    if (one.kind === "code" || ((one.kind === "fence" || one.kind === "math") && !started)) return this.#addCode(one);
    if (this.#cursor.isBlank) return;
    if (isContainer(one.kind)) this.#add(this.open.length - 1, block("paragraph"));
    this.#addText(false);
  }

  /** @param {Block} one */
  #addCode(one) {
    if (one.kind === "math") {
      one.text += `${this.#cursor.rest.trimEnd()}\n`;
      return;
    }
    one.text += this.#cursor.remainder + (one.kind === "fence" ? this.#end : "\n");
  }

  /** @param {boolean} isLazy */
  #addText(isLazy) {
    const one = this.innermost;
    const text = this.#cursor.rest;
    if (one.kind === "table") return this.#addRow(one, text);
    if (isLazy || this.#cursor.indent >= 4) one.indent = one.text.length + 1; // this line is not the head of a table
    one.text += `${text}\n`;
  }

  /** @param {Block} table @param {string} text */
  #addRow(table, text) {
    const cells = splitRow(text.trim());
    const isTooLong = cells.length > table.aligns.length;
    const isTooMany = this.#cells + table.value + table.aligns.length > MAX_CELLS;
    if ((isTooLong || isTooMany) && !this.#partial) return this.#refuseTable(table, text, isTooMany && !isTooLong);
    const written = cells.length;
    while (cells.length < table.aligns.length) cells.push("");
    cells.length = table.aligns.length;
    table.rows.push(cells);
    table.level = written;
    table.text += `${text}\n`;
    table.value += table.aligns.length;
  }

  /** Shows the lines of a table as text, because cells would be lost. @param {Block} table @param {string} text @param {boolean} refused */
  #refuseTable(table, text, refused) {
    this.open.pop();
    const { children } = this.innermost;
    const paragraph = block("paragraph", { text: `${table.text}${text}\n`, refused });
    children[children.length - 1] = paragraph;
    this.open.push(paragraph);
  }
}
