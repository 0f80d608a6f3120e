// @ts-check
// The threads of a room that the reader follows, with the number of their unread replies.

/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../room_state.js").RoomState} RoomState */

export class UnreadThreads {
  /** The unread replies of the followed threads, by root. @type {Map<string, number>} */
  #counts;
  /** The unread replies that mention the reader and that only a thread shows, by root. @type {Map<string, number>} */
  #mentions = new Map();

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

  /** @returns {number} the unread replies that mention the reader and that only a thread shows */
  get mentions() {
    return [...this.#mentions.values()].reduce((sum, count) => sum + count, 0);
  }

  /** @param {Record<string, number>} mentions by root, as the server has counted them */
  addMentions(mentions) {
    for (const [root, count] of Object.entries(mentions)) this.#mentions.set(root, count);
  }

  /** Takes the counts of roots that the page did not know; the sidebar has counted their threads already.
   * @param {Record<string, number>} counts */
  load(counts) {
    for (const [root, count] of Object.entries(counts)) if (!this.#counts.has(root)) this.#counts.set(root, count);
  }

  /** A new version of an answer is the root of its thread. @param {string} from @param {string} to */
  move(from, to) {
    for (const counts of [this.#counts, this.#mentions]) {
      const count = counts.get(from);
      if (count !== undefined) counts.set(to, count);
      counts.delete(from);
    }
  }

  /** Sets what the server has told of a thread. @param {string} root @param {boolean} following @param {number} unread */
  set(root, following, unread) {
    if (!following) this.#put(root, 0);
    if (following) this.#put(root, unread);
    else this.#counts.delete(root);
  }

  /** Counts a new reply. @param {Message} message @param {boolean} isRead whether the reader sees it now */
  onMessage({ thread: root, author, html, also_in_room: inRoom }, isRead) {
    if (!root) return;
    const mine = author.kind === "user" && author.id === this.state.me;
    const owner = this.state.message(root)?.author;
    const isOwner = owner?.kind === "user" && owner.id === this.state.me;
    const isMentioned = html.includes(this.chip);
    const isAddressed = isOwner || isMentioned;
    if (mine) this.#mentions.delete(root);
    else if (isMentioned && !isRead && !inRoom) this.#mentions.set(root, (this.#mentions.get(root) ?? 0) + 1);
    if (mine) this.#put(root, 0);
    else if (this.#counts.has(root) || isAddressed) this.#put(root, isRead ? 0 : this.of(root) + 1);
  }

  /** The reader has read a thread. @param {string} root */
  read(root) {
    this.#mentions.delete(root);
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
