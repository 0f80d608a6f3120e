// RoomState applies snapshots, events and deltas.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Gap } from "../../static/rooms/gap.js";
import { RoomState } from "../../static/rooms/room_state.js";
import { fullState, LAYOUT, ME, message, persona } from "./model_room.js";

const ANSWER = { kind: "persona", id: "persona-garam", name: "Garam", handle: "garam" };

function run(overrides = {}) {
  return {
    id: "run",
    persona: "persona-garam",
    message: "asked",
    answer: "answer",
    attempt: 1,
    state: "running",
    requested_by: ME,
    stopped_by: null,
    position: null,
    error: null,
    usage: null,
    ...overrides,
  };
}

/** A room at seq 10 with one streaming answer. */
function streaming(overrides = {}) {
  const answer = message("answer", { author: ANSWER, run: "run", status: "streaming" });
  return new RoomState(fullState({ messages: [answer], runs: [run()], ...overrides }), 10, ME, LAYOUT);
}

function delta(seq, text, attempt = 1) {
  return { type: "message.delta", room: "room", message: "answer", run: "run", attempt, seq, text };
}

function snapshot(overrides = {}) {
  const complete = { seq: 10, from: 10, complete: true, events: [], state: null, live: [] };
  return { type: "room.snapshot", room: "room", ref: "1", ...complete, ...overrides };
}

function live(from, seq, text, attempt = 1) {
  return snapshot({ live: [{ message: "answer", run: "run", attempt, from, seq, text }] });
}

const textOf = (state) => state.live.get("answer")?.text;

test("deltas are concatenated in order", () => {
  const state = streaming();

  assert.deepEqual(state.apply(delta(0, "one ")), [{ what: "text", message: "answer" }]);
  state.apply(delta(1, "two"));

  assert.equal(textOf(state), "one two");
});

test("a repeated delta is dropped", () => {
  const state = streaming();
  state.apply(delta(0, "one"));

  assert.deepEqual(state.apply(delta(0, "one")), []);
  assert.equal(textOf(state), "one");
});

test("a missing delta is a gap and changes nothing", () => {
  const state = streaming();
  state.apply(delta(0, "one"));

  assert.throws(() => state.apply(delta(2, "three")), (error) => error instanceof Gap && !error.durable);
  assert.equal(textOf(state), "one");
});

test("a higher attempt starts the answer over", () => {
  const state = streaming();
  state.apply(delta(0, "one"));

  state.apply(delta(0, "new text", 2));

  assert.equal(textOf(state), "new text");
  assert.deepEqual(state.position.live, { answer: [2, 0] });
});

test("a higher attempt that does not start at seq 0 is a gap", () => {
  const state = streaming();
  state.apply(delta(0, "one"));

  assert.throws(() => state.apply(delta(1, "new text", 2)), Gap);
});

test("a delta of an earlier attempt is dropped", () => {
  const state = streaming();
  state.apply(delta(0, "new text", 2));

  assert.deepEqual(state.apply(delta(1, "old", 1)), []);
  assert.equal(textOf(state), "new text");
});

test("run.started with a higher attempt empties the answer", () => {
  const state = streaming();
  state.apply(delta(0, "one"));

  const changes = state.apply({ type: "run.started", seq: 11, run: run({ attempt: 2 }) });

  assert.deepEqual(changes, [
    { what: "run", run: "run" },
    { what: "text", message: "answer" },
  ]);
  assert.equal(textOf(state), "");
  assert.deepEqual(state.position.live, {});
});

test("a late run.started does not empty the answer of the same attempt", () => {
  const state = streaming();
  state.apply(delta(0, "one"));

  state.apply({ type: "run.started", seq: 11, run: run() });

  assert.equal(textOf(state), "one");
});

test("message.completed replaces the deltas and ends the answer", () => {
  const state = streaming();
  state.apply(delta(0, "one"));
  const whole = message("answer", { author: ANSWER, run: "run", text: "one two", html: "<p>one two</p>" });

  state.apply({ type: "message.completed", seq: 11, message: whole });

  assert.equal(state.messages.get("answer").text, "one two");
  assert.equal(state.live.size, 0);
  assert.deepEqual(state.apply(delta(1, " two")), []);
  assert.equal(state.live.size, 0);
});

test("deltas after a stop are dropped", () => {
  const state = streaming();
  const cut = message("answer", { author: ANSWER, run: "run", text: "one", status: "cancelled" });

  state.apply({ type: "message.updated", seq: 11, message: cut });

  assert.deepEqual(state.apply(delta(1, " two")), []);
  assert.equal(state.answerState(state.messages.get("answer")), "stopped");
});

test("a delta of an unknown answer is a gap", () => {
  const state = new RoomState(fullState(), 10, ME, LAYOUT);

  assert.throws(() => state.apply(delta(0, "one")), Gap);
});

test("a snapshot adds the missing deltas of an answer", () => {
  const state = streaming();
  state.apply(delta(0, "one "));

  state.apply(live(1, 3, "two three"));

  assert.equal(textOf(state), "one two three");
  assert.deepEqual(state.position.live, { answer: [1, 3] });
});

test("a snapshot from delta 0 replaces the text", () => {
  const state = streaming();
  state.apply(delta(0, "one "));

  state.apply(live(0, 5, "another one"));

  assert.equal(textOf(state), "another one");
});

test("a snapshot without text for an answer leaves it empty", () => {
  const state = streaming();

  state.apply(live(0, -1, ""));

  assert.equal(textOf(state), "");
  assert.deepEqual(state.position.live, {});
});

test("a snapshot that is behind the answer removes nothing", () => {
  const state = streaming();
  state.apply(delta(0, "one "));
  state.apply(delta(1, "two"));

  assert.deepEqual(state.apply(live(1, 1, "two")), []);
  assert.deepEqual(state.apply(live(0, 7, "an attempt ago", 0)), []);
  assert.equal(textOf(state), "one two");
});

test("a snapshot that overlaps the answer is a gap and drops its text", () => {
  const state = streaming();
  state.apply(delta(0, "one "));
  state.apply(delta(1, "two "));

  assert.throws(() => state.apply(live(1, 2, "two three")), Gap);
  assert.deepEqual(state.position.live, {});
});

test("a full state keeps the text of streaming answers", () => {
  const state = streaming();
  state.apply(delta(0, "one "));
  const other = message("other", { status: "streaming" });
  const answer = state.messages.get("answer");
  const room = fullState({ messages: [answer, other], runs: [run()] });

  state.apply({ ...live(1, 1, "two"), seq: 700, from: 700, complete: false, events: null, state: room });

  assert.equal(textOf(state), "one two");
  assert.equal(state.seq, 700);
});

test("a full state drops ended runs and messages that are not loaded", () => {
  const state = streaming();
  state.apply(delta(0, "one "));
  const room = fullState({ messages: [message("newest")] });
  const afterwards = snapshot({ seq: 5, from: 5, complete: false, events: null, state: room });

  assert.deepEqual(state.apply(afterwards), [{ what: "everything" }]);
  assert.equal(state.live.size, 0);
  assert.equal(state.seq, 5);
  assert.equal(state.openRuns.length, 0);
});

test("an answer that is not loaded is not shown", () => {
  const state = new RoomState(fullState(), 10, ME, LAYOUT);

  assert.deepEqual(state.apply(live(0, 3, "from long ago")), []);
  assert.equal(state.live.size, 0);
});

test("a durable event is applied once", () => {
  const state = streaming();
  const posted = { type: "message.created", seq: 11, message: message("new") };

  assert.equal(state.apply(posted).length, 1);
  assert.deepEqual(state.apply(posted), []);
  assert.deepEqual(state.apply({ ...posted, seq: 3 }), []);
});

test("a missing durable event is a durable gap", () => {
  const state = streaming();
  const posted = { type: "message.created", seq: 12, message: message("new") };

  assert.throws(() => state.apply(posted), (error) => error instanceof Gap && error.durable);
  assert.equal(state.seq, 10);
});

test("an event of an unknown type only advances the seq", () => {
  const state = streaming();

  assert.deepEqual(state.apply({ type: "poll.opened", seq: 11, poll: {} }), []);
  assert.equal(state.seq, 11);
});

test("members are added, changed and removed", () => {
  const state = streaming();
  const hayun = { user: "hayun", name: "Hayun Kim", handle: "hayun", wood: "pine", role: "member" };

  assert.deepEqual(state.apply({ type: "member.added", seq: 11, member: hayun }), [{ what: "people" }]);
  state.apply({ type: "member.changed", seq: 12, member: { ...hayun, role: "reader" } });
  assert.equal(state.members.get("hayun").role, "reader");
  state.apply({ type: "member.removed", seq: 13, user: "hayun" });

  assert.equal(state.members.has("hayun"), false);
});

test("a change of the reader's role requests the permissions again", () => {
  const state = streaming();
  const mine = { ...state.members.get(ME), role: "reader" };

  const changes = state.apply({ type: "member.changed", seq: 11, member: mine });

  assert.deepEqual(changes.at(-1), { what: "rights" });
});

test("personas are bound, changed and unbound", () => {
  const state = streaming();

  state.apply({ type: "persona.bound", seq: 11, persona: persona("onsae") });
  state.apply({ type: "persona.changed", seq: 12, persona: { ...persona("onsae"), role: "Data" } });
  assert.equal(state.personas.get("persona-onsae").role, "Data");
  state.apply({ type: "persona.unbound", seq: 13, persona: "persona-onsae" });

  assert.equal(state.personas.has("persona-onsae"), false);
});

test("the state of an answer follows its status and its text", () => {
  const state = streaming();
  const answer = (status) => message("answer", { author: ANSWER, run: "run", status });

  assert.equal(state.answerState(null), "queued");
  assert.equal(state.answerState(answer("streaming")), "thinking");
  state.apply(delta(0, " \n"));
  assert.equal(state.answerState(answer("streaming")), "thinking");
  state.apply(delta(1, "now"));
  assert.equal(state.answerState(answer("streaming")), "streaming");
  assert.equal(state.answerState(answer("complete")), "completed");
  assert.equal(state.answerState(answer("failed")), "failed");
  assert.equal(state.answerState(answer("cancelled")), "stopped");
});

test("the requester and moderators may stop and retry a run", () => {
  const mine = run({ state: "failed" });
  const theirs = run({ state: "failed", requested_by: "hayun" });
  const member = streaming({ permissions: ["post", "view"], runs: [] });
  const reader = streaming({ permissions: ["view"], runs: [] });
  const moderator = streaming({ permissions: ["moderate", "post", "view"], runs: [] });

  assert.deepEqual([member.mayStop(mine), member.mayStop(theirs)], [true, false]);
  assert.deepEqual([moderator.mayStop(mine), moderator.mayStop(theirs)], [true, true]);
  assert.deepEqual([member.mayRetry(mine), member.mayRetry(theirs)], [true, false]);
  assert.deepEqual([reader.mayRetry(mine), reader.mayRetry(theirs)], [false, false]);
  assert.deepEqual([moderator.mayRetry(mine), moderator.mayRetry(theirs)], [true, true]);
});

test("a run cannot be retried while another run answers the same message", () => {
  const state = streaming();

  assert.equal(state.mayRetry(run({ id: "earlier", state: "failed" })), false);
});

test("run.position updates a queued run only", () => {
  const state = streaming({ runs: [run({ state: "queued", answer: null, position: 3 })] });

  state.apply({ type: "run.position", run: "run", position: 2 });
  assert.equal(state.runs.get("run").position, 2);
  state.apply({ type: "run.started", seq: 11, run: run() });
  assert.deepEqual(state.apply({ type: "run.position", run: "run", position: 1 }), []);
});

test("tool.started and tool.finished are one step", () => {
  const state = streaming();
  const step = { run: "run", tool: "search", summary: "Searching" };

  state.apply({ type: "tool.started", call: "1", ...step });
  state.apply({ type: "tool.started", call: "2", ...step });
  state.apply({ type: "tool.finished", call: "1", ...step, summary: "14 found", ms: 1200 });

  assert.deepEqual(
    state.steps.get("run").map(({ call, done, ms }) => [call, done, ms]),
    [
      ["1", true, 1200],
      ["2", false, null],
    ],
  );
});

test("earlier messages are inserted before the others", () => {
  const state = streaming();

  const runs = [run({ id: "old-run", answer: "old", state: "completed" })];
  const part = { place: "before", messages: [message("old")], earlier: true, later: true, seq: state.seq };
  state.apply({ type: "history.loaded", ...part, runs });

  assert.deepEqual([...state.messages.keys()], ["old", "answer"]);
  assert.ok(state.runs.has("old-run"));
  assert.equal(state.messagesComplete, false);
});

test("the snapshot sets the users who are online", () => {
  const state = streaming();
  state.apply({ type: "presence", user: "jiwoo", online: true });

  const changes = state.apply(snapshot({ online: ["hayun", ME] }));

  assert.deepEqual([...state.online], ["hayun", ME]);
  assert.deepEqual(changes.map(({ user }) => user).sort(), ["hayun", "jiwoo", ME].sort());
  assert.deepEqual(state.apply(snapshot()), []);
});
