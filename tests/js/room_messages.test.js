// Edits, deletions and reactions change loaded messages.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomState } from "../../static/rooms/room_state.js";
import { fullState, LAYOUT, ME, message } from "./model_room.js";

function room(overrides = {}) {
  return new RoomState(fullState(overrides), 10, ME, LAYOUT);
}

/** Applies an event with the next seq. */
function apply(state, event) {
  return state.apply({ ...event, room: "room", seq: state.seq + 1 });
}

test("an edited or deleted message keeps its place", () => {
  const state = room({ messages: [message("a", { text: "one", seq: 1 }), message("b", { text: "two", seq: 2 })] });
  const edited = message("a", { text: "ONE", seq: 1, edited_at: "2026-11-19T11:03:00.000Z" });

  assert.deepEqual(apply(state, { type: "message.updated", message: edited }), [{ what: "message", message: "a" }]);
  assert.equal(state.messages.get("a").text, "ONE");
  assert.equal(state.lastMessage.text, "two");
  apply(state, { type: "message.deleted", message: message("b", { seq: 2, deleted: true }) });
  assert.deepEqual([...state.messages.keys()], ["a", "b"]);
  assert.equal(state.lastMessage.text, "ONE");
  assert.equal(state.answerState(state.messages.get("b")), "deleted");
});

test("a change of a message that is not loaded changes nothing", () => {
  const state = room({ messages: [message("b", { seq: 2 })] });

  for (const type of ["message.updated", "message.deleted", "message.completed"]) {
    assert.deepEqual(apply(state, { type, message: message("a", { seq: 1 }) }), []);
  }
  assert.deepEqual(apply(state, { type: "reaction.changed", message: "a", reactions: { "👍": [ME] } }), []);
  assert.deepEqual([...state.messages.keys()], ["b"]);
});

test("the newest reaction event replaces the reactions", () => {
  const state = room({ messages: [message("a", { text: "one" })] });

  const changes = apply(state, { type: "reaction.changed", message: "a", reactions: { "👍": [ME] } });
  assert.deepEqual(changes, [{ what: "reactions", message: "a" }]);
  assert.deepEqual(state.messages.get("a"), { ...message("a", { text: "one" }), reactions: { "👍": [ME] } });
});

test("authors edit their own messages and moderators delete those of others", () => {
  const theirs = message("b", { author: { kind: "user", id: "other", name: "Other", handle: "other" } });
  const answer = message("c", { author: { kind: "persona", id: "persona-garam", name: "Garam", handle: "garam" } });
  const may = (state, body) => [state.mayEdit(body), state.mayDelete(body), state.mayReact(body)];
  const moderator = room();
  const member = room({ permissions: ["post", "view"] });
  const reader = room({ permissions: ["view"] });

  assert.deepEqual(may(member, message("a")), [true, true, true]);
  assert.deepEqual(may(member, theirs), [false, false, true]);
  assert.deepEqual(may(member, answer), [false, false, true]);
  for (const body of [theirs, answer]) assert.deepEqual(may(moderator, body), [false, true, true]);
  assert.deepEqual(may(reader, message("a")), [false, false, false]);
  assert.deepEqual(may(moderator, message("a", { deleted: true })), [false, false, false]);
});

test("a new version takes the place of the answer before it", () => {
  const answer = message("answer-1", { run: "run-1", text: "first", seq: 2 });
  const state = new RoomState(
    fullState({ messages: [message("question"), answer, message("later")] }),
    3,
    ME,
    LAYOUT,
  );
  const version = { ...answer, id: "answer-2", run: "run-2", status: "streaming", replaces: "answer-1", answer_version: 2 };
  state.apply({ type: "message.created", seq: 4, message: version });
  const changes = state.apply({ type: "message.updated", seq: 5, message: { ...answer, replaced_by: "answer-2" } });
  state.apply({ type: "message.delta", message: "answer-2", run: "run-2", attempt: 1, seq: 0, text: "second" });

  assert.deepEqual([...state.messages.keys()], ["question", "answer-2", "later"]);
  assert.deepEqual(changes, []);
  assert.equal(state.live.get("answer-2").text, "second");
});

test("a version of an answer that is not loaded is ignored with its deltas", () => {
  const state = new RoomState(fullState({ messages: [message("later")] }), 3, ME, LAYOUT);
  const version = message("answer-2", { run: "run-2", status: "streaming", replaces: "answer-1" });
  const delta = { type: "message.delta", message: "answer-2", run: "run-2", attempt: 1, seq: 0, text: "x" };

  assert.deepEqual(state.apply({ type: "message.created", seq: 4, message: version }), []);
  assert.deepEqual(state.apply(delta), []);
  const runs = [{ id: "run-2", answer: "answer-2", state: "running", message: "question" }];
  const joined = new RoomState(fullState({ messages: [message("later")], runs }), 4, ME, LAYOUT);

  assert.deepEqual([...state.messages.keys()], ["later"]);
  assert.deepEqual(joined.apply(delta), []);
});

test("pins follow the events of messages that are not loaded", () => {
  const state = new RoomState(fullState(), 0, ME, LAYOUT);
  const pinned = { by: ME, at: "2026-11-19T11:02:00.000Z" };
  const event = (seq, type, overrides) => state.apply({ type, seq, message: message("old", overrides) });

  event(1, "message.updated", { text: "👍🏽".repeat(300), pinned });
  state.apply({ type: "message.updated", seq: 2, message: message("other", { text: "other", pinned }) });
  event(3, "message.updated", { text: "mended", pinned });
  assert.deepEqual(state.pins.map(({ message: id, text }) => [id, text]), [["other", "other"], ["old", "mended"]]);

  event(4, "message.deleted", { deleted: true, pinned: null });
  assert.deepEqual(state.pins.map(({ message: id }) => id), ["other"]);
});
