// @ts-check
// The threads of a room that the reader follows, with the number of their unread replies.

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../room_state.js").RoomState} RoomState */

export class UnreadThreads {
  /** The unread replies of the followed threads, by root. @type {Map<string, number>} */
  #counts;

  /**
   * @param {RoomState} state
   * @param {string} handle of the reader
   * @param {Record<string, number>} counts the followed threads, as the server has counted them
   * @param {(change: -1 | 1) => void} onThread called when a thread has become unread, or has been read
   */
  constructor(state, handle, counts, onThread) {
    this.state = state;
    this.chip = `data-handle="${handle}"`;
    this.onThread = onThread;
    this.#counts = new Map(Object.entries(counts));
  }

  /** @param {string} root @returns {number} */
  of(root) {
    return this.#counts.get(root) ?? 0;
  }

  /** Sets what the server has told of a thread. @param {string} root @param {boolean} following @param {number} unread */
  set(root, following, unread) {
    if (!following) this.#put(root, 0);
    if (following) this.#put(root, unread);
    else this.#counts.delete(root);
  }

  /** Counts a new reply. @param {Message} message @param {boolean} isRead whether the reader sees it now */
  onMessage({ thread: root, author, html }, isRead) {
    if (!root) return;
    const mine = author.kind === "user" && author.id === this.state.me;
    const owner = this.state.message(root)?.author;
    const isOwner = owner?.kind === "user" && owner.id === this.state.me;
    const isAddressed = isOwner || html.includes(this.chip);
    if (mine) this.#put(root, 0);
    else if (this.#counts.has(root) || isAddressed) this.#put(root, isRead ? 0 : this.of(root) + 1);
  }

  /** The reader has read a thread. @param {string} root */
  read(root) {
    if (this.#counts.has(root)) this.#put(root, 0);
  }

  /** @param {string} root @param {number} count */
  #put(root, count) {
    const before = this.of(root);
    this.#counts.set(root, count);
    if (!before && count) this.onThread(1);
    if (before && !count) this.onThread(-1);
  }
}
