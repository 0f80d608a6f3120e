// @ts-check
// Synchronizes a RoomState with the server: joins, applies frames, and joins again at a gap.

import { Gap } from "../gap.js";

/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../room_state.js").Change} Change */

// Minimum time between two joins for gaps in deltas: if the server cannot fill such a gap, every later delta
// would cause another join.
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
   *   show: (changes: Change[], frame: Frame, since: number) => void,
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

  /** Joins from the current position; with `fullState`, requests the whole state. `OpenRoom` calls this after each
   * (re)connect. */
  async join({ fullState = false } = {}) {
    this.#joining = true;
    this.#waiting = [];
    const { after, live } = this.state.position;
    const room = this.state.room.id;
    try {
      const command = { type: "room.join", room, after: fullState ? null : after, live };
      const threads = this.state.threads.roots;
      await this.request(threads.length ? { ...command, threads } : command);
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

  /** Applies a frame to the state and shows the changes; joins again at a gap. @param {Frame} frame */
  apply(frame) {
    try {
      const since = this.state.seq;
      const changes = this.state.apply(frame);
      // A reply of a thread that is not open changes no state, but it is counted: once, because a
      // snapshot and the frames that waited for it have the same events.
      const isNew = frame.type === "message.created" && (frame.seq ?? 0) > since;
      if (changes.length || isNew) this.show(changes, frame, since);
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

  /** @param {Gap} gap @param {Frame} frame */
  #closeGap(gap, frame) {
    if (!gap.durable && this.now() < this.#ignoreGapsUntil) return;
    this.#ignoreGapsUntil = this.now() + GAP_RETRY_MS;
    void this.join({ fullState: frame.type === "room.snapshot" });
  }
}
