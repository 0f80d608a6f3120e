// Announcements for screen readers, suggestions for mentions, and the status line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { sentenceFor } from "../../static/rooms/announcements.js";
import { matching, mentionAt } from "../../static/rooms/composer/mention_picker.js";
import { RoomState } from "../../static/rooms/room_state.js";
import { typingWords } from "../../static/rooms/composer/status_line.js";
import { fullState, LAYOUT, ME, message } from "./model_room.js";

const HAYUN = { kind: "user", id: "hayun", name: "Hayun Kim", handle: "hayun" };
const GARAM = { kind: "persona", id: "persona-garam", name: "Garam", handle: "garam" };
const state = new RoomState(fullState(), 0, ME, LAYOUT);
const announced = (type, fields) => sentenceFor({ type, ...fields }, state);
const run = (fields) => ({ run: { id: "run", persona: "persona-garam", ...fields } });

test("messages of others are announced, own messages are not", () => {
  const theirs = message("m", { author: HAYUN, text: "Hello\n  there" });

  assert.equal(announced("message.created", { message: theirs }), "Hayun Kim: Hello there");
  assert.equal(announced("message.created", { message: message("m", { text: "Hello" }) }), "");
});

test("an answer is announced at its start and its end only", () => {
  const answer = message("m", { author: GARAM, text: "word ".repeat(100) });

  assert.equal(announced("run.started", run()), "Garam is answering");
  assert.equal(announced("message.created", { message: { ...answer, text: "" } }), "");
  assert.equal(announced("message.delta", { message: "m", text: "word" }), "");
  const end = announced("message.completed", { message: answer });
  assert.ok(end.startsWith("Garam answered: word word"));
  assert.ok(end.length < 150);
});

test("a failure is announced with its reason and a stop without", () => {
  const error = { code: "timeout", detail: "Too slow." };

  assert.equal(announced("run.failed", run({ error })), "Garam did not answer. Too slow.");
  assert.equal(announced("run.cancelled", run()), "The answer of Garam was stopped");
});

test("an unfinished mention reaches from the @ to the caret", () => {
  assert.deepEqual(mentionAt("hello @", 7), { start: 6, words: "" });
  assert.deepEqual(mentionAt("hello @Ga and more", 9), { start: 6, words: "ga" });
  assert.deepEqual(mentionAt("@가", 2), { start: 0, words: "가" });
  assert.equal(mentionAt("mail@example", 12), null);
  assert.equal(mentionAt("hello @ga done", 14), null);
  assert.equal(mentionAt("https://a.example/@x", 20), null);
});

test("names that start with the words are suggested first", () => {
  const people = ["Minjae Park", "Jiwoo Park", "Parker"].map((name) => ({ name, handle: name.slice(0, 3) }));

  assert.deepEqual(
    matching(people, "park").map(({ name }) => name),
    ["Parker", "Minjae Park", "Jiwoo Park"],
  );
  assert.equal(matching(people, "zz").length, 0);
});

test("the status line names up to two users who are typing", () => {
  assert.equal(typingWords(["Jiwoo"]), "Jiwoo is typing");
  assert.equal(typingWords(["Jiwoo", "Minjae"]), "Jiwoo and Minjae are typing");
  assert.equal(typingWords(["Jiwoo", "Minjae", "Elena"]), "Several people are typing");
});
