// @ts-check
// Collects the texts of unfinished answers, and shows them together in an animation frame. What this costs is
// bounded: the frames keep a distance, and one that takes long leaves the other answers to the next.

/** So many changes a second look like continuous text. */
const MIN_PAUSE_MS = 50;
/** The pause is so many times as long as the change before it has taken. */
const PAUSE_PER_COST = 4;
/** After this time the other answers wait for the next frame. */
const MAX_FRAME_MS = 8;

export class FrameCommits {
  /** @type {Map<HTMLElement, string>} */
  #due = new Map();
  #isWaiting = false;
  #earliest = 0;

  /**
   * @param {(change: () => void) => void} commit calls its argument, which changes the page
   * @param {(article: HTMLElement, text: string) => boolean} show returns false if more of the text has to be shown
   * @param {() => number} [now] milliseconds
   */
  constructor(commit, show, now = () => performance.now()) {
    this.commit = commit;
    this.show = show;
    this.now = now;
  }

  /** @param {HTMLElement} article @param {string} text the whole text so far */
  set(article, text) {
    this.#due.set(article, text);
    this.#wait();
  }

  /** Forgets the text of an article that shows something else now. @param {HTMLElement} article */
  drop(article) {
    this.#due.delete(article);
  }

  #wait() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    const request = () => requestAnimationFrame(() => this.#showDue());
    const pause = this.#earliest - this.now();
    if (pause > 0) setTimeout(request, pause);
    else request();
  }

  #showDue() {
    this.#isWaiting = false;
    for (const article of this.#due.keys()) if (!article.isConnected) this.#due.delete(article);
    if (!this.#due.size) return;
    const began = this.now();
    this.commit(() => this.#showSome(began + MAX_FRAME_MS));
    this.#earliest = began + Math.max(MIN_PAUSE_MS, (this.now() - began) * PAUSE_PER_COST);
    if (this.#due.size) this.#wait();
  }

  /** Shows the texts that were not shown for the longest time. @param {number} end */
  #showSome(end) {
    for (const [article, text] of [...this.#due]) {
      this.#due.delete(article);
      if (!this.show(article, text)) this.#due.set(article, text);
      if (this.now() > end) return;
    }
  }
}
