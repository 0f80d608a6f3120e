// @ts-check
// Loads parts of a room's history as data.

/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../room_state.js").RoomState} RoomState */

/** Where a part is: beside the loaded messages, or elsewhere.
 * @typedef {{before: number} | {after: number} | {at: number} | {around: string} | {on: string}} Place */

export class History {
  /** @type {Promise<boolean> | null} */
  #loading = null;

  /**
   * @param {RoomState} state
   * @param {(frame: Frame) => void} apply
   * @param {(url: string) => Promise<any>} [request]
   */
  constructor(state, apply, request = requestJson) {
    this.state = state;
    this.apply = apply;
    this.request = request;
  }

  /** Loads the messages before or after the loaded ones. @param {"before" | "after"} place @returns {Promise<boolean>} */
  continue(place) {
    const messages = [...this.state.messages.values()];
    const edge = place === "before" ? messages[0] : messages.at(-1);
    const where = place === "before" ? { before: edge?.seq ?? this.state.seq + 1 } : { after: edge?.seq ?? 0 };
    this.#loading ??= this.#load(where, place).finally(() => (this.#loading = null));
    return this.#loading;
  }

  /** Replaces the loaded messages by a part that is elsewhere. @param {Place} where @returns {Promise<boolean>} */
  async jump(where) {
    await this.#loading;
    return this.#load(where, "instead");
  }

  /** @param {Place} where @param {string} place @returns {Promise<boolean>} false if the part could not be loaded */
  async #load(where, place) {
    const query = new URLSearchParams(Object.entries(where).map(([name, value]) => [name, String(value)]));
    try {
      const part = await this.request(`/rooms/${this.state.room.id}/history/?${query}`);
      this.apply({ type: "history.loaded", place, ...part });
      return true;
    } catch {
      return false; // offline, or the reader has lost the room: the socket reports it
    }
  }
}

/** @param {string} url @returns {Promise<any>} */
async function requestJson(url) {
  const answer = await fetch(url);
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  return answer.json();
}
