// @ts-check
// Messages that the server has not confirmed. They are stored in the browser and sent again after a lost
// connection or a reload; `client_id` is the idempotency key.

import { newUuid } from "./uuid.js";
import { CommandRefused, ConnectionLost } from "./socket.js";

/** @typedef {{
 *   client_id: string, at: number, text: string, personas: string[] | null,
 *   state: "sending" | "refused", detail: string, arrived?: boolean, reply_to?: string, also_in_room?: boolean,
 *   in_turn?: boolean,
 * }} Entry `reply_to` and `also_in_room` are set for a reply */

const RETRY_S = 3;

export class Outbox {
  #sending = false;

  /**
   * @param {{
   *   key: string,
   *   storage: Storage | null,
   *   send: (entry: Entry) => Promise<unknown>,
   *   show: (entries: Entry[]) => void,
   *   later?: (work: () => void, seconds: number) => void,
   * }} options
   */
  constructor({ key, storage, send, show, later = (work, s) => void setTimeout(work, s * 1000) }) {
    this.key = key;
    this.storage = storage;
    this.send = send;
    this.show = show;
    this.later = later;
    /** @type {Entry[]} */
    this.entries = this.#read();
    this.#show();
  }

  /** @param {string} text @param {string[] | null} personas @param {Pick<Entry, "reply_to" | "also_in_room" | "in_turn">} [more] */
  add(text, personas, more = {}) {
    const at = Math.max(Date.now(), (this.entries.at(-1)?.at ?? 0) + 1);
    const entry = { client_id: newUuid(), at, text, personas, state: /** @type {const} */ ("sending"), detail: "", ...more };
    this.entries.push(entry);
    this.#changed(entry);
    void this.flush();
  }

  /** Sends the entries in state "sending" in order, one at a time. Call it when the connection is open. */
  async flush() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (let entry; (entry = this.entries.find(({ state }) => state === "sending")); ) {
        if (!(await this.#sendOne(entry))) return;
      }
    } finally {
      this.#sending = false;
    }
  }

  /** Sends a refused entry again. @param {string} id */
  again(id) {
    const entry = this.entries.find(({ client_id }) => client_id === id);
    if (!entry) return;
    entry.state = "sending";
    entry.detail = "";
    this.#changed(entry);
    void this.flush();
  }

  /** Removes an entry. @param {string} id @returns {Entry | undefined} the removed entry */
  remove(id) {
    const entry = this.entries.find(({ client_id }) => client_id === id);
    this.#remove(id);
    return entry;
  }

  /** Hides the entry whose message the timeline already shows. @param {string} text @param {boolean} isReply */
  arrived(text, isReply = false) {
    const entry = this.entries.find(
      (other) => !other.arrived && other.text === text && Boolean(other.reply_to) === isReply,
    );
    if (!entry) return;
    entry.arrived = true;
    this.#changed(entry);
  }

  /** @param {Entry} entry @returns {Promise<boolean>} whether the next entry may be sent */
  async #sendOne(entry) {
    try {
      await this.send(entry);
      this.#remove(entry.client_id);
      return true;
    } catch (error) {
      if (error instanceof ConnectionLost) return false;
      if (!(error instanceof CommandRefused)) throw error;
      return this.#refused(entry, error);
    }
  }

  /** @param {Entry} entry @param {CommandRefused} refusal @returns {boolean} */
  #refused(entry, refusal) {
    delete entry.arrived; // the message in the timeline was another one with the same text
    if (refusal.code === "rate_limited" || refusal.code === "unavailable") {
      entry.detail = refusal.message;
      this.#changed(entry);
      this.later(() => void this.flush(), refusal.retryAfter ?? RETRY_S);
      return false;
    }
    entry.state = "refused";
    entry.detail = refusal.message;
    this.#changed(entry);
    return true;
  }

  /** @param {string} id */
  #remove(id) {
    this.entries = this.entries.filter(({ client_id }) => client_id !== id);
    this.storage?.removeItem(this.#keyOf(id));
    this.#show();
  }

  /** Stores an entry under its own key, so that other tabs of the room do not overwrite it. @param {Entry} entry */
  #changed(entry) {
    try {
      this.storage?.setItem(this.#keyOf(entry.client_id), JSON.stringify(entry));
    } catch {
      // The storage is full: the entry is lost with the page.
    }
    this.#show();
  }

  #show() {
    this.show(this.entries.filter(({ arrived }) => !arrived));
  }

  /** @returns {Entry[]} the stored entries of earlier pages, oldest first */
  #read() {
    const left = Object.keys(this.storage ?? {}).filter((key) => key.startsWith(this.#keyOf("")));
    const entries = left.map((key) => parsed(this.storage?.getItem(key) ?? ""));
    return entries.filter((entry) => entry !== null).sort((one, other) => one.at - other.at);
  }

  /** @param {string} id */
  #keyOf(id) {
    return `${this.key}.${id}`;
  }
}

/** @param {string} text @returns {Entry | null} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** @returns {Storage | null} */
export function localStorageOrNone() {
  try {
    return localStorage;
  } catch {
    return null; // not permitted: unsent messages are lost with the page
  }
}
