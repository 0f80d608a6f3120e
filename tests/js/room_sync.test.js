// A client over an unreliable connection ends with the complete state of the room.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomState } from "../../static/rooms/room_state.js";
import { RoomSync } from "../../static/rooms/connection/room_sync.js";
import { afresh, dice, LAYOUT, ME, ModelRoom } from "./model_room.js";

const ROUNDS = 400;
const STEPS = 120;

/** A client of the model over a wire that cuts, repeats and delays what it is told to. */
class Client {
  constructor(server, roll, { limit = 500, broken = {} } = {}) {
    this.server = server;
    this.roll = roll;
    this.limit = limit;
    this.broken = broken;
    this.cutOff = true;
    this.wire = [];
    this.sent = [];
    this.joins = 0;
    this.texts = new Map();
    this.state = new RoomState(afresh(), 0, ME, LAYOUT);
    this.timeline = new RoomSync(this.state, {
      request: (command) => this.#ask(command),
      show: (changes) => this.#show(changes),
      now: () => this.time,
    });
    this.time = 0;
    server.listener = (frame) => this.#hear(frame);
  }

  connect() {
    this.cutOff = false;
    void this.timeline.join();
  }

  cut() {
    this.cutOff = true;
    this.wire = [];
  }

  /** Lets some of what is on the wire arrive. */
  deliver(count = this.roll.below(6)) {
    this.time += 1_000;
    for (let i = 0; i < count && this.wire.length; i += 1) {
      this.timeline.receive(this.wire.shift()());
      this.#checkTexts();
    }
  }

  settle() {
    for (let i = 0; i < 50 || this.wire.length; i += 1) {
      if (!this.wire.length) this.wire.push(() => this.#lateRepeat());
      this.deliver(1_000);
    }
  }

  #ask(command) {
    this.joins += 1;
    const joined = structuredClone(command);
    // The snapshot is taken when it is its turn, as the server does it: what came before is in it.
    this.wire.push(() => this.server.snapshot(joined, this.limit));
    return Promise.resolve({});
  }

  #hear(frame) {
    if (this.cutOff) return;
    if (this.roll.chance(this.broken.lost ?? 0)) return;
    this.sent.push(frame);
    this.wire.push(() => frame);
    if (this.roll.chance(this.broken.repeated ?? 0)) this.wire.push(() => frame);
    if (this.roll.chance(this.broken.late ?? 0)) this.wire.push(() => this.#lateRepeat());
    if (this.roll.chance(this.broken.swapped ?? 0) && this.wire.length > 1) {
      this.wire.push(...this.wire.splice(-2, 2).reverse());
    }
  }

  #lateRepeat() {
    return structuredClone(this.sent.length ? this.roll.pick(this.sent) : { type: "pong" });
  }

  #show(changes) {
    for (const change of changes) {
      if (change.what !== "text") continue;
      this.texts.set(change.message, this.state.live.get(change.message)?.text);
    }
  }

  /** At every moment, what is held is what was streamed up to there: nothing twice, nothing lost. */
  #checkTexts() {
    for (const [id, { attempt, seq, text }] of this.state.live) {
      const run = [...this.server.runs.values()].find(({ answer }) => answer === id);
      if (run.attempt !== attempt) continue;
      const deltas = this.server.deltas.get(run.id);
      assert.equal(text, deltas.slice(0, seq + 1).join(""));
    }
  }
}

function play(seed, options) {
  const roll = dice(seed);
  const server = new ModelRoom(roll);
  const client = new Client(server, roll, options);
  client.connect();
  for (let i = 0; i < STEPS; i += 1) {
    server.step();
    if (roll.chance(0.5)) client.deliver();
    if (roll.chance(options.cuts ?? 0)) client.cut();
    if (client.cutOff && roll.chance(0.3)) client.connect();
  }
  if (client.cutOff) client.connect();
  client.settle();
  return { server, client };
}

function assertSame({ server, client }) {
  assert.equal(client.state.seq, server.seq);
  for (const [id, said] of [...server.messages].slice(-50)) {
    assert.deepEqual(client.state.messages.get(id), said);
  }
  for (const run of server.runs.values()) {
    const known = client.state.runs.get(run.id);
    if (known) assert.equal(known.state, run.state);
  }
  assert.deepEqual(
    client.state.openRuns.map(({ id }) => id),
    server.open.map(({ id }) => id),
  );
  for (const run of server.open.filter(({ state }) => state === "running")) {
    const held = client.state.live.get(run.answer);
    assert.equal(held?.text ?? "", server.deltas.get(run.id).join(""));
  }
}

const WIRES = {
  "a good wire": {},
  "cuts at any moment": { cuts: 0.15 },
  "frames that come twice": { broken: { repeated: 0.3, late: 0.2 } },
  "frames that are lost": { broken: { lost: 0.1 } },
  "frames that overtake each other": { broken: { swapped: 0.2 } },
  "all of it at once": { cuts: 0.1, broken: { repeated: 0.2, late: 0.1, lost: 0.05, swapped: 0.1 } },
  "all of it, and a server that remembers little": {
    cuts: 0.1,
    limit: 3,
    broken: { repeated: 0.2, late: 0.1, lost: 0.05, swapped: 0.1 },
  },
};

for (const [name, options] of Object.entries(WIRES)) {
  test(`the state is complete after ${name}`, () => {
    for (let seed = 1; seed <= ROUNDS; seed += 1) {
      const played = play(seed, options);
      played.server.finish();
      played.client.settle();
      void played.client.timeline.join();
      played.client.settle();
      assertSame(played);
    }
  });
}

test("a streaming answer is complete after a disconnect", () => {
  for (let seed = 1; seed <= ROUNDS; seed += 1) {
    const played = play(seed, { cuts: 0.2 });
    void played.client.timeline.join();
    played.client.settle();
    assertSame(played);
  }
});

test("a client that applies every frame fails these tests", () => {
  let wrong = 0;
  for (let seed = 1; seed <= 50; seed += 1) {
    const roll = dice(seed);
    const server = new ModelRoom(roll);
    let text = "";
    server.listener = (frame) => {
      if (frame.type !== "message.delta" || roll.chance(0.1)) return;
      text += roll.chance(0.2) ? frame.text + frame.text : frame.text;
    };
    for (let i = 0; i < STEPS; i += 1) server.step();
    const whole = [...server.deltas.values()].flat().join("");
    wrong += Number(text !== whole);
  }
  assert.ok(wrong > 40, `${wrong} of 50`);
});

test("a gap is requested from the client's position", () => {
  const asked = [];
  const state = new RoomState(afresh(), 4, ME, LAYOUT);
  const timeline = new RoomSync(state, {
    request: async (command) => void asked.push(command),
    show: () => {},
  });

  timeline.receive({ type: "room.changed", room: "room", seq: 7, changed: { ...state.room } });

  assert.deepEqual(asked, [{ type: "room.join", room: "room", after: 4, live: {} }]);
  assert.equal(state.seq, 4);
});

test("frames that arrive before the snapshot are applied after it", () => {
  const asked = [];
  const state = new RoomState(afresh(), 0, ME, LAYOUT);
  const timeline = new RoomSync(state, { request: async (c) => void asked.push(c), show: () => {} });
  const changed = (seq, name) => ({
    type: "room.changed",
    room: "room",
    seq,
    changed: { ...state.room, name },
  });

  void timeline.join();
  timeline.receive(changed(2, "second"));
  timeline.receive({
    type: "room.snapshot",
    room: "room",
    ref: "1",
    seq: 1,
    from: 0,
    complete: true,
    events: [changed(1, "first")],
    state: null,
    live: [],
  });

  assert.equal(state.seq, 2);
  assert.equal(state.room.name, "second");
  assert.equal(asked.length, 1);
});

test("a gap that the server cannot fill is not requested at every delta", () => {
  const asked = [];
  const state = new RoomState(afresh({ messages: [{ id: "m", status: "streaming" }] }), 1, ME, LAYOUT);
  let time = 0;
  const timeline = new RoomSync(state, {
    request: async (command) => void asked.push(command),
    show: () => {},
    now: () => time,
  });
  const snapshot = { type: "room.snapshot", room: "room", seq: 1, from: 1, complete: true };
  const live = [{ message: "m", run: "r", attempt: 1, from: 0, seq: -1, text: "" }];

  for (let seq = 5; seq < 25; seq += 1) {
    time += 50;
    timeline.receive({ type: "message.delta", room: "room", message: "m", attempt: 1, seq, text: "x" });
    timeline.receive({ ...snapshot, ref: "1", events: [], state: null, live });
  }

  assert.equal(asked.length, 1);
});

test("frames of other rooms are ignored", () => {
  const state = new RoomState(afresh(), 0, ME, LAYOUT);
  const timeline = new RoomSync(state, { request: async () => {}, show: assert.fail });

  timeline.receive({ type: "room.changed", room: "elsewhere", seq: 1, changed: {} });

  assert.equal(state.seq, 0);
});
