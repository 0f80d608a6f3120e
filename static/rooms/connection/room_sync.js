// @ts-check
// Synchronizes a RoomState with the server: joins, applies frames, and joins again at a gap.

import { Gap } from "../room_state.js";

/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../room_state.js").Change} Change */

// If the server cannot fill a gap in an answer, every later delta would cause another join.
const GAP_RETRY_MS = 2_000;

export class RoomSync {
  #joining = false;
  /** Frames that arrived between a join and its snapshot. @type {Frame[]} */
  #waiting = [];
  #ignoreGapsUntil = 0;

  /**
   * @param {RoomState} state
   * @param {{
   *   request: (command: Command) => Promise<unknown>,
   *   show: (changes: Change[], frame: Frame) => void,
   *   refused?: (error: unknown) => void,
   *   now?: () => number,
   * }} options
   */
  constructor(state, { request, show, refused = () => {}, now = () => performance.now() }) {
    this.state = state;
    this.request = request;
    this.show = show;
    this.refused = refused;
    this.now = now;
  }

  /** Joins with the own position, with `afresh` without one. After a reconnect, `room.js` calls it again. */
  async join({ afresh = false } = {}) {
    this.#joining = true;
    this.#waiting = [];
    const { after, live } = this.state.position;
    const room = this.state.room.id;
    try {
      await this.request({ type: "room.join", room, after: afresh ? null : after, live });
    } catch (error) {
      this.#joining = false;
      this.refused(error);
    }
  }

  /** @param {Frame} frame any frame of the socket */
  receive(frame) {
    if (frame.room !== this.state.room.id) return;
    if (frame.type === "room.snapshot") return this.#receiveSnapshot(frame);
    if (this.#joining) this.#waiting.push(frame);
    else this.apply(frame);
  }

  /** Applies a frame; nothing else changes the state. @param {Frame} frame */
  apply(frame) {
    try {
      const changes = this.state.apply(frame);
      if (changes.length) this.show(changes, frame);
    } catch (error) {
      if (!(error instanceof Gap)) throw error;
      this.#closeGap(error, frame);
    }
  }

  /** @param {Frame} snapshot */
  #receiveSnapshot(snapshot) {
    const waiting = this.#waiting;
    this.#joining = false;
    this.#waiting = [];
    this.apply(snapshot);
    for (const frame of waiting) this.receive(frame);
  }

  /** @param {Gap} hole @param {Frame} frame */
  #closeGap(hole, frame) {
    if (!hole.durable && this.now() < this.#ignoreGapsUntil) return;
    this.#ignoreGapsUntil = this.now() + GAP_RETRY_MS;
    void this.join({ afresh: frame.type === "room.snapshot" });
  }
}
