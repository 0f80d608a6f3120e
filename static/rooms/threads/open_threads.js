// @ts-check
// The messages of the threads that are open on the page: a part of RoomState, which changes them.

import { withRoot, withVersion } from "../room_parts.js";

/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Message} Message */

/** The root and the replies by id, in the order of seq. While the page loads them, `missed` collects the
 * reactions to messages that are not there yet.
 * @typedef {{messages: Map<string, Message>, isLoading: boolean, missed: Frame[]}} Thread */

/** @param {Message} message @returns {boolean} whether the room shows it; replies are shown by their thread */
export function isInRoom({ thread, also_in_room: also }) {
  return !thread || Boolean(also);
}

export class OpenThreads {
  /** @type {Map<string, Thread>} */
  #threads = new Map();
  /** The new versions of answers with threads, by the version before. @type {Map<string, string>} */
  #moved = new Map();

  /** @returns {string[]} the roots of the open threads */
  get roots() {
    return [...this.#threads.keys()];
  }

  /** @param {string} root @returns {Map<string, Message> | undefined} the messages of an open thread */
  messages(root) {
    return this.#threads.get(root)?.messages;
  }

  /** @param {string} id @returns {Message | undefined} a message of any open thread */
  find(id) {
    for (const { messages } of this.#threads.values()) {
      const found = messages.get(id);
      if (found) return found;
    }
    return undefined;
  }

  /** @param {string} root @returns {string} the root of the thread now: the last version of an answer */
  current(root) {
    const next = this.#moved.get(root);
    return next ? this.current(next) : root;
  }

  /** Makes a new version of an answer the root of an open thread. @param {string} from @param {string} to */
  move(from, to) {
    const thread = this.#threads.get(from);
    if (!thread) return;
    this.#moved.set(from, to);
    this.#threads.delete(from);
    this.#threads.set(to, thread);
    thread.messages = withRoot(thread.messages, from, to);
  }

  /** Opens a thread whose messages are still to be loaded. @param {string} root @param {Message | undefined} known */
  open(root, known) {
    if (this.#threads.has(root)) return;
    this.#threads.set(root, { messages: new Map(known && [[root, known]]), isLoading: true, missed: [] });
  }

  /** @param {string} root @returns {Message[]} the messages that are no longer loaded */
  close(root) {
    const closed = [...(this.messages(root)?.values() ?? [])];
    this.#threads.delete(root);
    return closed;
  }

  /**
   * Adds the messages that the page has loaded. A message that an event brought meanwhile is at least as new; if it
   * has no HTML, it takes that of the loaded one.
   * @param {string} root
   * @param {Message[]} messages
   * @returns {Frame[]} the reactions that came before their messages; apply them again
   */
  load(root, messages) {
    const thread = this.#threads.get(root);
    if (!thread) return [];
    const newest = new Map(thread.messages);
    for (const loaded of messages) {
      const known = newest.get(loaded.id);
      newest.set(loaded.id, known ? { ...known, html: known.html || loaded.html } : loaded);
    }
    for (const { replaces } of thread.messages.values()) if (replaces) newest.delete(replaces);
    thread.messages = new Map([...newest].sort(([, one], [, other]) => one.seq - other.seq));
    thread.isLoading = false;
    return thread.missed.splice(0);
  }

  /** Applies an event of a message. @param {string} type @param {Message} message @returns {boolean} whether an open thread shows it */
  put(type, message) {
    const thread = this.#threads.get(message.thread ?? message.id);
    if (!thread) return false;
    if (type === "message.created" && message.replaces) {
      if (thread.messages.has(message.replaces)) {
        thread.messages = withVersion(thread.messages, message.replaces, message);
        return true;
      }
      if (!thread.isLoading) return false;
    }
    if (message.replaced_by && !thread.messages.has(message.id)) return false;
    const isNew = type === "message.created" || thread.isLoading;
    if (!isNew && !thread.messages.has(message.id)) return false;
    thread.messages.set(message.id, message);
    return true;
  }

  /** Changes fields of a message. @param {string} id @param {Partial<Message>} fields @param {Frame} frame */
  update(id, fields, frame) {
    for (const thread of this.#threads.values()) {
      const message = thread.messages.get(id);
      if (message) thread.messages.set(id, { ...message, ...fields });
      else if (thread.isLoading) thread.missed.push(frame);
    }
  }

  /** Takes the messages of the open threads from a new state of the room. @param {Message[]} messages */
  replace(messages) {
    for (const [root, thread] of this.#threads) {
      const mine = messages.filter((each) => each.id === root || each.thread === root);
      thread.messages = new Map(mine.sort((one, other) => one.seq - other.seq).map((each) => [each.id, each]));
    }
  }
}
