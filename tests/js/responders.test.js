// The page says who will answer, as the server will decide it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { answerers, mentioned, personasToSend } from "../../static/rooms/composer/responders.js";
import { persona } from "./model_room.js";

const [garam, byeori, daon] = ["garam", "byeori", "daon"].map(persona);
const personas = [garam, byeori, { ...daon, enabled: false }];

function asked(text, { policy = "default", usual = null, choice = "usual" } = {}) {
  const room = { answer_policy: policy, default_persona: usual };
  const question = { room, personas, people: [{ handle: "garam-lee" }], text, choice };
  return [answerers(question).map(({ handle }) => handle), personasToSend(question)];
}

test("the room's first persona answers where none is named for it", () => {
  assert.deepEqual(asked("hello"), [["garam"], null]);
  assert.deepEqual(asked("hello", { usual: byeori.id }), [["byeori"], null]);
});

test("mentioned personas answer instead", () => {
  assert.deepEqual(asked("@byeori and @garam"), [["garam", "byeori"], null]);
});

test("somebody whose handle begins like a persona's is somebody else", () => {
  assert.deepEqual(asked("@garam-lee, look", { policy: "mention" }), [[], null]);
});

test("only mentioned personas answer where the room says so", () => {
  assert.deepEqual(asked("hello", { policy: "mention" }), [[], null]);
  assert.deepEqual(asked("@byeori?", { policy: "mention" }), [["byeori"], null]);
});

test("nobody answers in a room without answers", () => {
  assert.deepEqual(asked("@byeori", { policy: "off" }), [[], null]);
});

test("a choice goes before the room's rule, and a mention before the choice", () => {
  assert.deepEqual(asked("hello", { choice: byeori.id }), [["byeori"], [byeori.id]]);
  assert.deepEqual(asked("hello", { choice: byeori.id, policy: "off" }), [["byeori"], [byeori.id]]);
  assert.deepEqual(asked("@garam", { choice: byeori.id }), [["garam"], [garam.id]]);
});

test("nobody is nobody, whoever is mentioned", () => {
  assert.deepEqual(asked("@byeori", { choice: "nobody" }), [[], []]);
});

test("a choice that is not in the room any more leaves it to the room", () => {
  assert.deepEqual(asked("hello", { choice: "gone" })[0], ["garam"]);
});

test("a mention is a whole name, in any case, with what Korean hangs onto it", () => {
  const handles = ["garam", "가람", "가람이"];
  const found = (text) => [...mentioned(text, handles)];

  assert.deepEqual(found("@GARAM, look"), ["garam"]);
  assert.deepEqual(found("@garam님께"), ["garam"]);
  assert.deepEqual(found("@가람에게"), ["가람"]);
  assert.deepEqual(found("@가람이"), ["가람이"]);
  assert.deepEqual(found("@가람마루 a@garam @@garam https://a.example/@garam @garamond"), []);
});
