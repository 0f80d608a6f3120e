// @ts-check
// Sends `room.read` for messages that were in view while the window was visible and focused.

const WAIT_MS = 800;

export class ReadPosition {
  #sent;
  #held = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {{seen: () => number, send: (seq: number) => boolean, sent: number, signal: AbortSignal}} options
   *   `seen` returns the seq of the last message in view; `send` returns whether it could be sent
   */
  constructor({ seen, send, sent, signal }) {
    this.seen = seen;
    this.send = send;
    this.#sent = sent;
    document.addEventListener("visibilitychange", () => this.schedule(), { signal });
  }

  /** The seq up to which the reader has read. */
  get sent() {
    return this.#sent;
  }

  /** Sends no position until `release`: the reader has marked messages as unread. */
  hold() {
    this.#held = true;
  }

  release() {
    this.#held = false;
  }

  /** The view shows another conversation: its position is sent even if it is lower. */
  restart() {
    this.#sent = 0;
  }

  /** Call this when the view has changed. */
  schedule() {
    if (document.visibilityState === "visible") this.#timer ??= setTimeout(() => this.#report(), WAIT_MS);
  }

  /** Reports at once: the reader leaves the room. */
  flush() {
    clearTimeout(this.#timer);
    this.#report();
  }

  #report() {
    this.#timer = undefined;
    if (this.#held || document.visibilityState !== "visible") return;
    const seq = this.seen();
    if (seq > this.#sent && this.send(seq)) this.#sent = seq;
  }
}
