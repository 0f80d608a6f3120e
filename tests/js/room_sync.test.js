// A client over an unreliable connection ends with the complete state of the room.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomState } from "../../static/rooms/room_state.js";
import { RoomSync } from "../../static/rooms/connection/room_sync.js";
import { fullState, message, seededRandom, LAYOUT, ME, ModelRoom } from "./model_room.js";

const ROUNDS = 400;
const STEPS = 120;

/** A client of the model. Its connection loses, repeats, delays and reorders frames as `broken` configures. */
class Client {
  constructor(server, rng, { limit = 500, broken = {} } = {}) {
    this.server = server;
    this.rng = rng;
    this.limit = limit;
    this.broken = broken;
    this.isCut = true;
    this.queue = [];
    this.sent = [];
    this.joins = 0;
    this.texts = new Map();
    this.state = new RoomState(fullState(), 0, ME, LAYOUT);
    this.timeline = new RoomSync(this.state, {
      request: (command) => this.#request(command),
      show: (changes) => this.#show(changes),
      now: () => this.time,
    });
    this.time = 0;
    server.listener = (frame) => this.#receive(frame);
  }

  connect() {
    this.isCut = false;
    void this.timeline.join();
  }

  cut() {
    this.isCut = true;
    this.queue = [];
  }

  /** Delivers up to `count` frames of the queue. */
  deliver(count = this.rng.below(6)) {
    this.time += 1_000;
    for (let i = 0; i < count && this.queue.length; i += 1) {
      this.timeline.receive(this.queue.shift()());
      this.#checkTexts();
    }
  }

  settle() {
    for (let i = 0; i < 50 || this.queue.length; i += 1) {
      if (!this.queue.length) this.queue.push(() => this.#lateRepeat());
      this.deliver(1_000);
    }
  }

  #request(command) {
    this.joins += 1;
    const joined = structuredClone(command);
    // The snapshot is read when it is delivered, so that it contains all earlier events, as on the server.
    this.queue.push(() => this.server.snapshot(joined, this.limit));
    return Promise.resolve({});
  }

  #receive(frame) {
    if (this.isCut) return;
    if (this.rng.chance(this.broken.lost ?? 0)) return;
    this.sent.push(frame);
    this.queue.push(() => frame);
    if (this.rng.chance(this.broken.repeated ?? 0)) this.queue.push(() => frame);
    if (this.rng.chance(this.broken.late ?? 0)) this.queue.push(() => this.#lateRepeat());
    if (this.rng.chance(this.broken.swapped ?? 0) && this.queue.length > 1) {
      this.queue.push(...this.queue.splice(-2, 2).reverse());
    }
  }

  #lateRepeat() {
    return structuredClone(this.sent.length ? this.rng.pick(this.sent) : { type: "pong" });
  }

  #show(changes) {
    for (const change of changes) {
      if (change.what !== "text") continue;
      this.texts.set(change.message, this.state.live.get(change.message)?.text);
    }
  }

  /** The text of each answer must equal the streamed deltas up to its seq, without loss or repetition. */
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
  const rng = seededRandom(seed);
  const server = new ModelRoom(rng);
  const client = new Client(server, rng, options);
  client.connect();
  for (let i = 0; i < STEPS; i += 1) {
    server.step();
    if (rng.chance(0.5)) client.deliver();
    if (rng.chance(options.cuts ?? 0)) client.cut();
    if (client.isCut && rng.chance(0.3)) client.connect();
  }
  if (client.isCut) client.connect();
  client.settle();
  return { server, client };
}

function assertSame({ server, client }) {
  assert.equal(client.state.seq, server.seq);
  for (const [id, message] of [...server.messages].slice(-50)) {
    assert.deepEqual(client.state.messages.get(id), message);
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

const CONNECTIONS = {
  "a reliable connection": {},
  "random disconnects": { cuts: 0.15 },
  "repeated frames": { broken: { repeated: 0.3, late: 0.2 } },
  "lost frames": { broken: { lost: 0.1 } },
  "reordered frames": { broken: { swapped: 0.2 } },
  "all faults together": { cuts: 0.1, broken: { repeated: 0.2, late: 0.1, lost: 0.05, swapped: 0.1 } },
  "all faults together and a server with a short log": {
    cuts: 0.1,
    limit: 3,
    broken: { repeated: 0.2, late: 0.1, lost: 0.05, swapped: 0.1 },
  },
};

for (const [name, options] of Object.entries(CONNECTIONS)) {
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
    const rng = seededRandom(seed);
    const server = new ModelRoom(rng);
    let text = "";
    server.listener = (frame) => {
      if (frame.type !== "message.delta" || rng.chance(0.1)) return;
      text += rng.chance(0.2) ? frame.text + frame.text : frame.text;
    };
    for (let i = 0; i < STEPS; i += 1) server.step();
    const whole = [...server.deltas.values()].flat().join("");
    wrong += Number(text !== whole);
  }
  assert.ok(wrong > 40, `${wrong} of 50`);
});

test("a gap is requested from the client's position", () => {
  const requests = [];
  const state = new RoomState(fullState(), 4, ME, LAYOUT);
  const timeline = new RoomSync(state, {
    request: async (command) => void requests.push(command),
    show: () => {},
  });

  timeline.receive({ type: "room.changed", room: "room", seq: 7, changed: { ...state.room } });

  assert.deepEqual(requests, [{ type: "room.join", room: "room", after: 4, live: {} }]);
  assert.equal(state.seq, 4);
});

test("frames that arrive before the snapshot are applied after it", () => {
  const requests = [];
  const state = new RoomState(fullState(), 0, ME, LAYOUT);
  const timeline = new RoomSync(state, { request: async (c) => void requests.push(c), show: () => {} });
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
  assert.equal(requests.length, 1);
});

test("a gap that the server cannot fill is not requested at every delta", () => {
  const requests = [];
  const state = new RoomState(fullState({ messages: [{ id: "m", status: "streaming" }] }), 1, ME, LAYOUT);
  let time = 0;
  const timeline = new RoomSync(state, {
    request: async (command) => void requests.push(command),
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

  assert.equal(requests.length, 1);
});

test("frames of other rooms are ignored", () => {
  const state = new RoomState(fullState(), 0, ME, LAYOUT);
  const timeline = new RoomSync(state, { request: async () => {}, show: assert.fail });

  timeline.receive({ type: "room.changed", room: "elsewhere", seq: 1, changed: {} });

  assert.equal(state.seq, 0);
});

test("a reply of a thread that is not open is shown, so that it is counted", () => {
  const shown = [];
  const state = new RoomState(fullState(), 10, ME, LAYOUT);
  const sync = new RoomSync(state, { request: async () => {}, show: (changes, { type }) => shown.push([changes, type]) });

  const frame = { type: "message.created", room: "room", seq: 11, message: message("reply", { seq: 11, thread: "root" }) };
  sync.receive(frame);
  sync.receive(frame); // waited for a snapshot that has it, too

  assert.deepEqual(shown, [[[], "message.created"]]);
});
