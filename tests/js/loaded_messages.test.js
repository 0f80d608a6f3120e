// The part of a room's history that a page has: without gaps, of bounded length, current.

import assert from "node:assert/strict";
import { test } from "node:test";

import { MOST_MESSAGES } from "../../static/rooms/history/loaded_messages.js";
import { RoomState } from "../../static/rooms/room_state.js";
import { fullState, LAYOUT, ME, message } from "./model_room.js";

/** The messages with the seqs from `first` on. */
function messages(first, count) {
  return Array.from({ length: count }, (_, n) => message(`m${first + n}`, { seq: first + n }));
}

/** A room with 1,000 messages, whose page has the newest 50. */
function room() {
  return new RoomState(fullState({ messages: messages(951, 50), messages_complete: false }), 1000, ME, LAYOUT);
}

function load(state, place, first, count, rest = {}) {
  const ends = { earlier: first > 1, later: first + count <= 1000, runs: [], members: [], seq: state.seq };
  return state.apply({ type: "history.loaded", place, messages: messages(first, count), ...ends, ...rest });
}

function created(seq, rest = {}) {
  return { type: "message.created", room: "room", seq, message: message(`m${seq}`, { seq, ...rest }) };
}

const seqs = (state) => [...state.messages.values()].map(({ seq }) => seq);

test("scrolling to the first message keeps a bounded part without gaps", () => {
  const state = room();

  for (let first = 901; first > 0; first -= 50) {
    load(state, "before", first, 50);
    assert.ok(state.messages.size <= MOST_MESSAGES);
    assert.deepEqual(seqs(state), messages(first, state.messages.size).map(({ seq }) => seq));
  }

  assert.equal(state.messagesComplete, true);
  assert.equal(state.loaded.hasLater, true);
  for (let first = MOST_MESSAGES + 1; first <= 1000; first += 50) load(state, "after", first, 50);
  assert.equal(state.loaded.hasLater, false);
  assert.equal(seqs(state).at(-1), 1000);
});

test("a new message is not added behind a gap, and is counted", () => {
  const state = room();
  load(state, "instead", 101, 50);

  const changes = state.apply(created(1001));

  assert.deepEqual(changes, [{ what: "later" }]);
  assert.equal(state.seq, 1001);
  assert.equal(seqs(state).at(-1), 150);
});

test("a message that comes while the last part is read is not lost", () => {
  const state = room();
  load(state, "instead", 901, 50);
  const readAt = state.seq;
  state.apply(created(1001));

  load(state, "after", 951, 50, { seq: readAt, later: false });

  assert.equal(state.loaded.hasLater, true);
  load(state, "after", 1001, 1, { later: false });
  assert.equal(state.loaded.hasLater, false);
  assert.equal(seqs(state).at(-1), 1001);
});

test("a change that comes while a part is read is applied to it", () => {
  const state = room();
  const readAt = state.seq;
  state.apply({ type: "message.updated", seq: 1001, message: message("m920", { seq: 920, text: "edited" }) });
  state.apply({ type: "reaction.changed", seq: 1002, message: "m921", reactions: { "👍": [ME] } });

  load(state, "before", 901, 50, { seq: readAt });

  assert.equal(state.messages.get("m920").text, "edited");
  assert.deepEqual(state.messages.get("m921").reactions, { "👍": [ME] });
});

test("a room that is followed for long forgets its first messages", () => {
  const state = room();

  for (let seq = 1001; seq <= 3000; seq += 1) state.apply(created(seq));

  assert.ok(state.messages.size <= MOST_MESSAGES + 50);
  assert.equal(seqs(state).at(-1), 3000);
  assert.equal(state.messagesComplete, false);
});
