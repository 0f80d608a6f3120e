// What personas that act show: steps, decisions and questions, steering, rounds.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sentenceFor } from "../../static/rooms/announcements.js";
import { callResult, callTitle, setCallWords } from "../../static/rooms/acting/call_words.js";
import { outcomeSentence } from "../../static/rooms/acting/sentences.js";
import { PressGuard } from "../../static/rooms/acting/press_guard.js";
import { mergedSteps, stepLines } from "../../static/rooms/acting/steps.js";
import { steeringWords } from "../../static/rooms/acting/steering.js";
import { RoomState } from "../../static/rooms/room_state.js";
import { pieces } from "../../static/maru/translations.js";
import { fullState, LAYOUT, ME, message } from "./model_room.js";

const GARAM = "persona-garam";
const RUN = { id: "run", persona: GARAM, message: "question", answer: "answer", attempt: 1, requested_by: ME };

function approval(overrides = {}) {
  return {
    id: "call", run: "run", message: "answer", persona: GARAM, call: "call", tool: "send", title: "Send",
    changes: true, asked_of: [ME, "hayun"], state: "asked", by: null, for_run: false, may_for_run: false,
    expires_at: null, ...overrides,
  };
}

function question(overrides = {}) {
  return {
    id: "q", run: "run", message: "answer", persona: GARAM, text: "Which?", choices: [], asked_of: [ME],
    state: "open", answers: [], expires_at: "2026-11-20T00:00:00.000Z", ...overrides,
  };
}

function waitingRoom(overrides = {}) {
  const answer = message("answer", { run: "run", status: "streaming", text: "Let me see." });
  const run = { ...RUN, state: "waiting" };
  return new RoomState(fullState({ messages: [answer], runs: [run], ...overrides }), 0, ME, LAYOUT);
}

const step = (call, state, fields = {}) => ({ call, tool: "t", title: call, state, ms: null, result: null, ...fields });

test("an unfinished answer whose run waits is waiting", () => {
  const state = waitingRoom();
  assert.equal(state.answerState(state.messages.get("answer")), "waiting");

  state.apply({ type: "run.queued", seq: 1, run: RUN });
  assert.equal(state.answerState(state.messages.get("answer")), "thinking");
});

test("a call waits for the people who are asked until one of them decides", () => {
  const state = waitingRoom({ approvals: [approval()] });
  assert.deepEqual(state.asks.mine.map(({ ask }) => ask.id), ["call"]);

  const changes = state.apply({ type: "approval.decided", seq: 1, approval: approval({ state: "allowed", by: "hayun" }) });

  assert.deepEqual(changes, [{ what: "ask", run: "run" }]);
  assert.deepEqual(state.asks.open, []);
  assert.equal(state.asks.of("run")[0].ask.state, "allowed");
});

test("a new state keeps the decisions that the page shows, and drops what waits no more", () => {
  const state = waitingRoom({ approvals: [approval(), approval({ id: "other" })] });
  state.apply({ type: "approval.decided", seq: 1, approval: approval({ state: "denied", by: "hayun" }) });

  state.asks.replace({ approvals: [], questions: [question()] });

  assert.deepEqual(state.asks.of("run").map(({ ask }) => [ask.id, ask.state]), [["call", "denied"], ["q", "open"]]);
});

test("a question waits for each person until the person has answered", () => {
  const state = waitingRoom({ questions: [question({ asked_of: [ME, "hayun"] })] });
  assert.equal(state.asks.mine.length, 1);

  const answers = [{ by: ME, name: "Seojun Lee", text: "The first", at: "2026-11-19T11:02:00.000Z" }];
  state.apply({ type: "question.answered", seq: 1, question: question({ asked_of: [ME, "hayun"], answers }) });

  assert.deepEqual([state.asks.mine.length, state.asks.open.length], [0, 1]);
});

test("a decision that comes second says who was first", () => {
  const decided = approval({ state: "allowed", by: "hayun", by_name: "Hayun Kim" });

  assert.equal(outcomeSentence(decided, true), "%(name)s allowed it first. Your decision was not used.");
  assert.equal(outcomeSentence(decided, false), "%(tool)s, allowed once by %(name)s");
  assert.equal(outcomeSentence({ ...decided, for_run: true }, false), "%(tool)s, allowed for this run by %(name)s");
  assert.match(outcomeSentence(approval({ state: "withdrawn" }), true), /no longer needed/u);
  assert.match(outcomeSentence(approval({ state: "withdrawn", denial: "changed" }), true), /the tool has changed/u);
  assert.match(outcomeSentence(approval({ state: "withdrawn", denial: "no_decider" }), true), /nobody here may decide/u);
});

test("steps of the message count more than what was told meanwhile", () => {
  const live = [
    { call: "a", tool: "t", summary: "A", ms: null, done: false },
    { call: "b", tool: "t", summary: "B", ms: null, done: false },
    { call: "c", tool: "t", summary: "C", ms: 9, done: true },
  ];
  const merged = mergedSteps([step("a", "done", { ms: 5 }), step("b", "allowed"), step("d", "asked")], live);

  assert.deepEqual(
    merged.map(({ call, state, ms }) => [call, state, ms]),
    [["a", "done", 5], ["b", "running", null], ["d", "asked", null], ["c", "done", 9]],
  );
});

test("more than three steps are folded only when the answer is done", () => {
  const steps = [..."abcd"].map((call) => step(call, "done", { ms: 500 }));
  const about = { done: true, asking: new Set() };

  assert.equal(stepLines(steps, LAYOUT, about).fold, "4 steps, 2 s");
  assert.equal(stepLines(steps, LAYOUT, { ...about, done: false }).fold, "");
  assert.equal(stepLines(steps.slice(1), LAYOUT, about).fold, "");
  assert.deepEqual(stepLines([step("a", "asked"), step("b", "running")], LAYOUT, { done: false, asking: new Set(["b"]) }).rows, []);
});

test("calls have the words of the reader, and tools of a server keep their titles", (t) => {
  setCallWords({ titles: { clock: "날짜와 시간" }, results: { timeout: "시간 초과" } });
  t.after(() => setCallWords({ titles: {}, results: {} }));
  const own = { tool: "clock", title: "Date and time", own: true };
  const said = (type, fields) => sentenceFor({ type, approval: approval({ ...own, ...fields }) }, waitingRoom());

  assert.equal(callTitle(own), "날짜와 시간");
  assert.equal(callTitle({ ...own, own: undefined }), "Date and time");
  assert.equal(callTitle({ ...own, tool: "of a later version" }), "Date and time");
  assert.equal(said("approval.requested", {}), "Garam asks to use 날짜와 시간. You can decide.");
  assert.equal(said("approval.decided", { state: "expired" }), "날짜와 시간, denied: nobody decided in time");
  assert.equal(callResult(step("a", "failed", { result: "timeout" })), "시간 초과");
  assert.equal(callResult(step("a", "done", { result: "timeout" })), "timeout");
  assert.equal(callResult(step("a", "done", { result: "no answer", answers: 0 })), "no answer");
});

test("a steering line says what became of it", () => {
  assert.equal(steeringWords({ state: "accepted", after: null }), "taken in at the next step");
  assert.equal(steeringWords({ state: "applied", after: 2 }), "applied after step 2");
  assert.equal(steeringWords({ state: "applied", after: 0 }), "applied");
  assert.equal(steeringWords({ state: "failed", after: null }), "the answer had ended");
});

test("who is asked hears of a decision, the others that the persona waits", () => {
  const state = waitingRoom();
  const said = (type, fields) => sentenceFor({ type, ...fields }, state);

  assert.equal(said("approval.requested", { approval: approval() }), "Garam asks to use Send. You can decide.");
  assert.equal(said("approval.requested", { approval: approval({ asked_of: ["hayun"] }) }), "Garam waits for a decision");
  const allowed = approval({ state: "allowed", by: "hayun", by_name: "Hayun Kim" });
  assert.equal(said("approval.decided", { approval: allowed }), "Allowed once by Hayun Kim");
  assert.equal(said("approval.decided", { approval: { ...allowed, by: ME } }), "");
  assert.equal(said("question.asked", { question: question() }), "Garam asks you: Which?");
});

test("applied steering is announced once", () => {
  const state = waitingRoom();
  const steered = (line) => ({ type: "message.updated", message: { ...state.messages.get("answer"), steered: [{ id: "s", ...line }] } });
  const said = [];
  for (const [seq, line] of [{ state: "accepted" }, { state: "applied" }, { state: "applied" }].entries()) {
    const frame = { ...steered(line), seq: seq + 1 };
    said.push(sentenceFor(frame, state, state.apply(frame)));
  }

  assert.deepEqual(said, ["", "Steering applied", ""]);
});

test("a persona of a round is announced with its place", () => {
  const steps = [GARAM, "persona-byeori"].map((persona, at) => ({ persona, name: persona, run: at ? null : "run", state: "waiting" }));
  const asked = message("question", { round: { id: "r", message: "question", requested_by: ME, steps, state: "running" } });
  const state = new RoomState(fullState({ messages: [asked] }), 0, ME, LAYOUT);

  assert.equal(sentenceFor({ type: "run.started", run: { ...RUN, round: "r" } }, state), "Garam, 1 of 2, is answering");
});

test("only a run that a dead worker has left tries again", () => {
  const state = waitingRoom();
  const started = (seq, attempt) => state.apply({ type: "run.started", seq, run: { ...RUN, attempt } });
  state.apply({ type: "run.queued", seq: 1, run: RUN });

  started(2, 2);
  assert.equal(state.runs.get("run").isTakenOver, false);
  started(3, 3);
  assert.equal(state.runs.get("run").isTakenOver, true);
});

test("a sentence is split at its values, with the particles behind them", () => {
  assert.deepEqual(pieces("%(persona)s이(가) %(tool)s을(를) 쓰려고 합니다", { persona: "벼리", tool: "배포: 값 바꾸기" }), [
    ["벼리", "persona"], ["가 ", ""], ["배포: 값 바꾸기", "tool"], ["를 쓰려고 합니다", ""],
  ]);
});

test("a press counts only when the card has not appeared or moved for half a second", () => {
  let now = 0;
  const card = { top: 100, getBoundingClientRect: () => ({ top: card.top }) };
  const box = { scrollTop: 0 };
  const guard = new PressGuard({}, box, () => now);
  assert.equal(guard.allows(card), false);
  now = 500;
  assert.equal(guard.allows(card), true);

  card.top = 60; // a message has arrived
  assert.equal(guard.allows(card), false);
  now = 1_000;
  assert.equal(guard.allows(card), true);

  [box.scrollTop, card.top] = [-30, 90]; // the reader has scrolled
  assert.equal(guard.allows(card), true);
  box.scrollTop = -70; // the timeline has grown, and the view was kept
  assert.equal(guard.allows(card), true);
});
