// @ts-check
// Tells the server how far the reader has come: what was in view, in a window that was looked at.

const WAIT_MS = 800;

export class Reading {
  #told;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {{seen: () => number, tell: (seq: number) => boolean, told: number}} about `seen` is the seq
   *   of the last thing in view, `tell` says whether it could be sent
   */
  constructor({ seen, tell, told }) {
    this.seen = seen;
    this.tell = tell;
    this.#told = told;
    document.addEventListener("visibilitychange", () => this.look());
  }

  /** Something else is in view. */
  look() {
    if (document.visibilityState === "visible") this.#timer ??= setTimeout(() => this.#report(), WAIT_MS);
  }

  #report() {
    this.#timer = undefined;
    if (document.visibilityState !== "visible") return;
    const seq = this.seen();
    if (seq > this.#told && this.tell(seq)) this.#told = seq;
  }
}
