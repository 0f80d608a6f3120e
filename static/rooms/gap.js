// @ts-check
// The error of a frame that does not continue the state of a room.

/** A frame does not continue the state, so the client must join the room again. */
export class Gap extends Error {
  /** @param {boolean} durable true for a gap in the log; a gap in the deltas is also closed by `message.completed` */
  constructor(durable) {
    super(durable ? "gap in the log" : "gap in the deltas");
    this.durable = durable;
  }
}
