// @ts-check
// Compact deltas (rooms/protocol/compact.py): a delta names its answer by a number, which `run.started` and the
// unfinished answers of a snapshot tell as `stream`. A number is valid for one connection.

/** @typedef {import("../protocol.js").Frame} Frame */

const ENDS = new Set(["run.completed", "run.failed", "run.cancelled"]);

export class CompactDeltas {
  /** @type {Map<number, {room: string, message: string, run: string, attempt: number}>} */
  #answers = new Map();

  /**
   * @param {any} frame as received
   * @returns {Frame | null} the frame in the form of `maru.v1`; null for a delta of an unknown answer, which
   *   `message.completed` will replace
   */
  expand(frame) {
    if (!frame.d) {
      this.#remember(frame);
      return frame;
    }
    const [stream, seq, text] = frame.d;
    const answer = this.#answers.get(stream);
    return answer ? { type: "message.delta", ...answer, seq, text } : null;
  }

  /** @param {Frame} frame */
  #remember(frame) {
    const { type, room = "", run } = frame;
    if (type === "room.snapshot") {
      for (const event of frame.events ?? []) this.#remember(event);
      for (const { stream, message, run, attempt } of frame.live ?? []) {
        this.#answers.set(stream, { room, message, run, attempt });
      }
    } else if (type === "run.started") {
      this.#answers.set(frame.stream, { room, message: run.answer, run: run.id, attempt: run.attempt });
    } else if (ENDS.has(type)) {
      for (const [stream, answer] of this.#answers) if (answer.run === run.id) this.#answers.delete(stream);
    }
  }
}
