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
