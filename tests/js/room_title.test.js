// The name of a room for its reader.

import assert from "node:assert/strict";
import { test } from "node:test";

import { RoomState } from "../../static/rooms/room_state.js";
import { titleOf, writeWords } from "../../static/rooms/room_title.js";
import { fullState, LAYOUT, ME, persona } from "./model_room.js";

const person = (user, name) => ({ user, name, handle: user, wood: "pine", role: "member" });

function stateOf(room, people = []) {
  const { room: plain, members } = fullState();
  const whole = fullState({ room: { ...plain, ...room }, members: [...members, ...people], personas: [persona("garam")] });
  return new RoomState(whole, 0, ME, LAYOUT);
}

test("a room has its own name, with # only if it is open", () => {
  assert.equal(titleOf(stateOf({})), "room");
  assert.equal(writeWords(stateOf({ privacy: "team" })), "Write to #room");
  assert.equal(writeWords(stateOf({ privacy: "private" })), "Write to room");
});

test("a direct room is named by the others, people first", () => {
  const direct = { direct: true, name: "", privacy: "private" };

  const several = stateOf(direct, [person("b", "minjae"), person("a", "Hayun")]);

  assert.equal(titleOf(several), "Hayun, minjae, Garam");
  assert.equal(writeWords(several), "Message Hayun, minjae, Garam");
});

test("a direct room without others is the reader's own", () => {
  const alone = stateOf({ direct: true, name: "" });
  alone.personas.clear();

  assert.equal(titleOf(alone), "Only you");
});
