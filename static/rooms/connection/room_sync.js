// @ts-check
// Keeps a room's state in step with the server: joins, applies what comes, joins again at a hole.

import { Hole } from "../room_state.js";

/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../room_state.js").Change} Change */

// A hole in an answer that the server cannot fill would make us ask at every delta that follows.
const REST_MS = 2_000;

export class Timeline {
  #joining = false;
  /** What came while a snapshot was on its way. @type {Frame[]} */
  #waiting = [];
  #restUntil = 0;

  /**
   * @param {RoomState} state
   * @param {{
   *   request: (command: Command) => Promise<unknown>,
   *   show: (changes: Change[], frame: Frame) => void,
   *   refused?: (error: unknown) => void,
   *   now?: () => number,
   * }} ways out: to the server, to the page
   */
  constructor(state, { request, show, refused = () => {}, now = () => performance.now() }) {
    this.state = state;
    this.request = request;
    this.show = show;
    this.refused = refused;
    this.now = now;
  }

  /** Asks for what is missing; `afresh` for the whole room. A lost connection asks again when it is back. */
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
    if (frame.type === "room.snapshot") return this.#arrive(frame);
    if (this.#joining) this.#waiting.push(frame);
    else this.apply(frame);
  }

  /** The one place that changes the state. @param {Frame} frame */
  apply(frame) {
    try {
      const changes = this.state.apply(frame);
      if (changes.length) this.show(changes, frame);
    } catch (error) {
      if (!(error instanceof Hole)) throw error;
      this.#mend(error, frame);
    }
  }

  /** @param {Frame} snapshot */
  #arrive(snapshot) {
    const waiting = this.#waiting;
    this.#joining = false;
    this.#waiting = [];
    this.apply(snapshot);
    for (const frame of waiting) this.receive(frame);
  }

  /** @param {Hole} hole @param {Frame} frame */
  #mend(hole, frame) {
    if (!hole.durable && this.now() < this.#restUntil) return;
    this.#restUntil = this.now() + REST_MS;
    void this.join({ afresh: frame.type === "room.snapshot" });
  }
}
