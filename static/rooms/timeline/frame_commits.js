// @ts-check
// Collects the texts of unfinished answers, and shows them once in each animation frame.

export class FrameCommits {
  /** @type {Map<HTMLElement, string>} */
  #due = new Map();
  #frame = 0;

  /**
   * @param {(change: () => void) => void} commit calls its argument, which changes the page
   * @param {(article: HTMLElement, text: string) => void} show
   */
  constructor(commit, show) {
    this.commit = commit;
    this.show = show;
  }

  /** @param {HTMLElement} article @param {string} text the whole text so far */
  set(article, text) {
    this.#due.set(article, text);
    this.#frame ||= requestAnimationFrame(() => this.#showDue());
  }

  /** Forgets the text of an article that shows something else now. @param {HTMLElement} article */
  drop(article) {
    this.#due.delete(article);
  }

  #showDue() {
    this.#frame = 0;
    const due = [...this.#due].filter(([article]) => article.isConnected);
    this.#due.clear();
    if (due.length) this.commit(() => due.forEach(([article, text]) => this.show(article, text)));
  }
}
