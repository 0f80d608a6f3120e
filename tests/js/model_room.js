// A model of the server's side of a room: the log, the answers, the snapshots.

import { readFileSync } from "node:fs";

/** A random number generator that returns the same sequence for the same seed. */
export function seededRandom(seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    random,
    below: (n) => Math.floor(random() * n),
    pick: (list) => list[Math.floor(random() * list.length)],
    chance: (part) => random() < part,
  };
}

export const ME = "user-me";
export const LAYOUT = JSON.parse(
  readFileSync(new URL("../../rooms/pages/layout.json", import.meta.url), "utf-8"),
);
const ROOM = { id: "room", team: "team", name: "room", topic: "", privacy: "team" };

export function fullState(overrides = {}) {
  return {
    room: { ...ROOM, answer_policy: "default", default_persona: null },
    members: [{ user: ME, name: "Seojun Lee", handle: "seojun", wood: "pine", role: "owner" }],
    personas: [persona("garam"), persona("byeori")],
    permissions: ["manage", "moderate", "post", "view"],
    messages: [],
    messages_complete: true,
    runs: [],
    ...overrides,
  };
}

export function persona(handle) {
  const name = handle[0].toUpperCase() + handle.slice(1);
  const look = { pigment: "noerok", lattice: "gyeoksal", enabled: true };
  return { id: `persona-${handle}`, name, handle, role: "Research", goal: "Finds things", ...look };
}

export function message(id, overrides = {}) {
  return {
    id,
    room: ROOM.id,
    seq: 0,
    author: { kind: "user", id: ME, name: "Seojun Lee", handle: "seojun" },
    text: "",
    html: "",
    reply_to: null,
    run: null,
    status: "complete",
    reactions: {},
    created_at: "2026-11-19T11:02:00.000Z",
    edited_at: null,
    deleted: false,
    ...overrides,
  };
}

export class ModelRoom {
  constructor(rng) {
    this.rng = rng;
    this.seq = 0;
    this.log = [];
    this.messages = new Map();
    this.runs = new Map();
    /** The delta store: run id → the deltas of its current attempt. */
    this.deltas = new Map();
    this.listener = () => {};
    this.made = 0;
  }

  get open() {
    return [...this.runs.values()].filter((run) => ["queued", "running"].includes(run.state));
  }

  step() {
    const running = this.open.filter((run) => run.state === "running");
    const queued = this.open.filter((run) => run.state === "queued");
    const choice = this.rng.below(20);
    if (choice === 0 || !this.runs.size) return this.post();
    if (choice <= 2 && queued.length) return this.start(this.rng.pick(queued));
    if (choice === 3 && queued.length) return this.end(this.rng.pick(queued), "cancelled");
    if (!running.length) return queued.length ? this.start(queued[0]) : this.post();
    const run = this.rng.pick(running);
    if (choice === 4) return this.start(run); // taken over from a dead worker
    if (choice === 5) return this.end(run, this.rng.pick(["completed", "failed", "cancelled"]));
    this.stream(run);
  }

  finish() {
    for (const run of this.open) {
      if (run.state === "queued") this.start(run);
      this.end(run, "completed");
    }
  }

  post() {
    const id = `message-${++this.made}`;
    const question = this.#keep(message(id, { text: `question ${this.made}` }));
    this.#record({ type: "message.created", message: question });
    const run = { id: `run-${this.made}`, persona: "persona-garam", message: id, answer: null };
    Object.assign(run, { attempt: 0, state: "queued", requested_by: ME, stopped_by: null });
    Object.assign(run, { position: null, error: null, usage: null });
    this.runs.set(run.id, run);
    this.#record({ type: "run.queued", run: { ...run } });
  }

  start(run) {
    run.attempt += 1;
    run.state = "running";
    this.deltas.set(run.id, []);
    if (!run.answer) {
      run.answer = `answer-${run.id}`;
      const author = { kind: "persona", id: run.persona, name: "Garam", handle: "garam" };
      const answer = message(run.answer, { author, run: run.id, status: "streaming" });
      this.#record({ type: "message.created", message: this.#keep(answer) });
    }
    this.#record({ type: "run.started", run: { ...run } });
  }

  stream(run) {
    const deltas = this.deltas.get(run.id);
    const text = this.rng.pick(["a", " b", "가나", "\n", "👍🏽", "", "<b>", "long words "]);
    const { id, answer, attempt } = run;
    deltas.push(text);
    this.#emit({ type: "message.delta", message: answer, run: id, attempt, seq: deltas.length - 1, text });
  }

  end(run, state) {
    run.state = state;
    const answer = this.messages.get(run.answer);
    if (answer) {
      const status = { completed: "complete", failed: "failed", cancelled: "cancelled" }[state];
      const text = this.deltas.get(run.id).join("");
      const ended = this.#keep({ ...answer, text, html: `<p>${text.length}</p>`, status });
      const type = state === "completed" ? "message.completed" : "message.updated";
      this.#record({ type, message: ended });
    }
    this.#record({ type: `run.${state}`, run: { ...run } });
  }

  /** The response to `room.join`. */
  snapshot({ after, live, ref = "1" }, limit = 500) {
    const complete = after !== null && after <= this.seq && this.seq - after <= limit;
    return {
      type: "room.snapshot",
      room: ROOM.id,
      ref,
      seq: this.seq,
      from: complete ? after : this.seq,
      complete,
      events: complete ? structuredClone(this.log.slice(after)) : null,
      state: complete ? null : structuredClone(this.state()),
      live: this.#unfinished().map((run) => this.#live(run, live)),
    };
  }

  state() {
    return fullState({ messages: [...this.messages.values()].slice(-50), runs: this.open });
  }

  #unfinished() {
    return this.open.filter((run) => run.answer && run.state === "running");
  }

  #live(run, live) {
    const [attempt, seq] = live[run.answer] ?? [0, -1];
    const from = attempt === run.attempt ? seq + 1 : 0;
    const deltas = this.deltas.get(run.id);
    const text = deltas.slice(from).join("");
    return { message: run.answer, run: run.id, attempt: run.attempt, from, seq: deltas.length - 1, text };
  }

  #keep(body) {
    const kept = this.messages.get(body.id) ?? { ...body, seq: this.seq + 1 };
    this.messages.set(body.id, { ...kept, ...body, seq: kept.seq });
    return this.messages.get(body.id);
  }

  #record(event) {
    const placed = structuredClone({ ...event, room: ROOM.id, seq: ++this.seq });
    this.log.push(placed);
    this.#emit(placed);
  }

  #emit(frame) {
    this.listener(structuredClone({ ...frame, room: ROOM.id }));
  }
}
