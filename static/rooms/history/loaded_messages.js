// @ts-check
// Which messages of a room the page has: one part of its history without gaps, of bounded length. RoomState
// changes it when it applies a frame.

/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Message} Message */

/** `earlier` and `later`: whether the room has others on that side.
 * @typedef {{place: "before" | "after" | "instead", messages: Message[], earlier: boolean, later: boolean}} Part */

export const MOST_MESSAGES = 300;
const SPARE = 50; // messages at the end of a long part are forgotten in groups
const RECENT_EVENTS = 200;

export class LoadedMessages {
  /** In timeline order. @type {Map<string, Message>} */
  messages = new Map();
  /** Whether the part begins with the room's first message. */
  complete = true;
  /** Whether the part ends before the room's newest message. */
  hasLater = false;
  /** The seq of the newest message that was not added, because there are others before it. */
  #skipped = -1;
  /** @type {Frame[]} */
  #recent = [];

  /** Has the newest messages. @param {Message[]} messages @param {boolean} complete */
  replace(messages, complete) {
    this.messages = mapOf(messages);
    this.complete = complete;
    this.hasLater = false;
    this.#skipped = -1;
  }

  /** Adds a part. If there are too many messages, those at the other end are forgotten. @param {Part} part */
  extend({ place, messages, earlier, later }) {
    const added = mapOf(messages);
    const before = place === "instead" ? new Map() : this.messages;
    const all = place === "before" ? [...added, ...before] : [...before, ...added];
    const unique = [...new Map(all)];
    const isCut = unique.length > MOST_MESSAGES;
    const kept = place === "before" ? unique.slice(0, MOST_MESSAGES) : unique.slice(-MOST_MESSAGES);
    this.messages = new Map(kept);
    if (place === "before") {
      this.complete = !earlier;
      this.hasLater ||= isCut;
      return;
    }
    this.complete = place === "instead" ? !earlier : this.complete && !isCut;
    this.hasLater = later || this.#skipped > (messages.at(-1)?.seq ?? -1); // one came during the request
  }

  /** Adds or replaces a message. @param {Message} message @returns {boolean} false if others are missing before it */
  set(message) {
    if (this.hasLater && !this.messages.has(message.id)) {
      this.#skipped = message.seq;
      return false;
    }
    this.messages.set(message.id, message);
    if (this.messages.size > MOST_MESSAGES + SPARE) {
      this.messages = new Map([...this.messages].slice(-MOST_MESSAGES));
      this.complete = false;
    }
    return true;
  }

  /** A part that was read before an event lacks its change. @param {Frame} frame durable */
  remember(frame) {
    if (frame.type === "message.created" || !frame.message) return;
    this.#recent.push(frame);
    if (this.#recent.length > 2 * RECENT_EVENTS) this.#recent = this.#recent.slice(-RECENT_EVENTS);
  }

  /** @param {number} seq @returns {Frame[]} the remembered events after it */
  eventsAfter(seq) {
    return this.#recent.filter((frame) => (frame.seq ?? 0) > seq);
  }
}

/** @param {Message[]} messages @returns {Map<string, Message>} */
function mapOf(messages) {
  return new Map(messages.map((message) => [message.id, message]));
}
