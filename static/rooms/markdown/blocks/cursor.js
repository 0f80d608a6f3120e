// @ts-check
// A position in a line, in characters and in columns: a tab reaches to the next multiple of four columns.

export class Cursor {
  line = "";
  /** The characters that were used. */
  offset = 0;
  column = 0;
  /** Whether the tab at `offset` was used in part. */
  inTab = false;
  /** The next character that is no space. */
  next = 0;
  nextColumn = 0;

  /** @param {string} line */
  start(line) {
    this.line = line;
    this.offset = this.column = 0;
    this.inTab = false;
    this.find();
  }

  /** The columns before the next character. */
  get indent() {
    return this.nextColumn - this.column;
  }

  get isBlank() {
    return this.next >= this.line.length;
  }

  /** The line from the next character on. */
  get rest() {
    return this.line.slice(this.next);
  }

  /** The line from the position on; what is left of a tab becomes spaces. */
  get remainder() {
    const spaces = this.inTab ? 4 - (this.column % 4) : 0;
    return " ".repeat(spaces) + this.line.slice(this.offset + Number(this.inTab));
  }

  /** Finds the next character that is no space. */
  find() {
    let next = this.offset;
    let column = this.column;
    for (; next < this.line.length; next += 1) {
      if (this.line[next] === " ") column += 1;
      else if (this.line[next] === "\t") column += 4 - (column % 4);
      else break;
    }
    this.next = next;
    this.nextColumn = column;
  }

  /** Uses columns of spaces and tabs. @param {number} count */
  advance(count) {
    while (count > 0 && this.offset < this.line.length) {
      const width = this.line[this.offset] === "\t" ? 4 - (this.column % 4) : 1;
      this.inTab = width > count;
      this.column += Math.min(width, count);
      if (!this.inTab) this.offset += 1;
      count -= width;
    }
  }

  /** Uses the spaces before the next character, and characters from there on. @param {number} [count] */
  skip(count = 0) {
    this.offset = this.next + count;
    this.column = this.nextColumn + count;
    this.inTab = false;
    this.find();
  }

  /** Uses the whole line. */
  end() {
    this.offset = this.line.length;
    this.find();
  }
}
