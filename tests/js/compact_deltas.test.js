// CompactDeltas turns the frames of `maru.v1.compact` into those of `maru.v1`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { CompactDeltas } from "../../static/rooms/connection/compact_deltas.js";

const started = (stream, attempt = 1) => ({
  type: "run.started",
  room: "room",
  seq: 7,
  stream,
  run: { id: "run", answer: "answer", attempt },
});
const delta = (attempt, seq, text) => ({
  type: "message.delta",
  room: "room",
  message: "answer",
  run: "run",
  attempt,
  seq,
  text,
});

test("a delta has the fields of the attempt that its number stands for", () => {
  const deltas = new CompactDeltas();

  deltas.expand(started(3));
  deltas.expand(started(4, 2));

  assert.deepEqual(deltas.expand({ d: [3, 0, "one"] }), delta(1, 0, "one"));
  assert.deepEqual(deltas.expand({ d: [4, 1, "two"] }), delta(2, 1, "two"));
});

test("a snapshot tells the numbers of its unfinished answers and of its events", () => {
  for (const told of [
    { events: [started(5)], live: [] },
    { events: null, live: [{ message: "answer", run: "run", attempt: 1, stream: 5 }] },
  ]) {
    const deltas = new CompactDeltas();
    deltas.expand({ type: "room.snapshot", room: "room", ...told });

    assert.deepEqual(deltas.expand({ d: [5, 2, "text"] }), delta(1, 2, "text"));
  }
});

test("other frames stay as they are", () => {
  const frame = { type: "member.typing", room: "room", user: "user" };

  assert.equal(new CompactDeltas().expand(frame), frame);
});

test("a delta of an unknown or ended answer is dropped", () => {
  const deltas = new CompactDeltas();
  deltas.expand(started(6));
  deltas.expand({ type: "run.cancelled", room: "room", seq: 8, run: { id: "run" } });

  assert.equal(deltas.expand({ d: [6, 1, "late"] }), null);
  assert.equal(deltas.expand({ d: [9, 0, "unknown"] }), null);
});
