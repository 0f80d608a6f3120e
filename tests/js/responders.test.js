// The page predicts the responders by the same rules as the server.

import assert from "node:assert/strict";
import { test } from "node:test";

import { responders, mentioned, personasToSend } from "../../static/rooms/composer/responders.js";
import { persona } from "./model_room.js";

const [garam, byeori, daon] = ["garam", "byeori", "daon"].map(persona);
const personas = [garam, byeori, { ...daon, enabled: false }];

function predict(text, { policy = "default", usual = null, choice = "usual" } = {}) {
  const room = { answer_policy: policy, default_persona: usual };
  const question = { room, personas, people: [{ handle: "garam-lee" }], text, choice };
  return [responders(question).map(({ handle }) => handle), personasToSend(question)];
}

test("the first persona answers if the room has no default persona", () => {
  assert.deepEqual(predict("hello"), [["garam"], null]);
  assert.deepEqual(predict("hello", { usual: byeori.id }), [["byeori"], null]);
});

test("mentioned personas answer instead", () => {
  assert.deepEqual(predict("@byeori and @garam"), [["garam", "byeori"], null]);
});

test("a person whose handle starts with a persona's handle is not that persona", () => {
  assert.deepEqual(predict("@garam-lee, look", { policy: "mention" }), [[], null]);
});

test("only mentioned personas answer under the policy mention", () => {
  assert.deepEqual(predict("hello", { policy: "mention" }), [[], null]);
  assert.deepEqual(predict("@byeori?", { policy: "mention" }), [["byeori"], null]);
});

test("no persona answers under the policy off", () => {
  assert.deepEqual(predict("@byeori", { policy: "off" }), [[], null]);
});

test("a choice overrides the policy and a mention overrides the choice", () => {
  assert.deepEqual(predict("hello", { choice: byeori.id }), [["byeori"], [byeori.id]]);
  assert.deepEqual(predict("hello", { choice: byeori.id, policy: "off" }), [["byeori"], [byeori.id]]);
  assert.deepEqual(predict("@garam", { choice: byeori.id }), [["garam"], [garam.id]]);
});

test("the choice `none` overrides mentions", () => {
  assert.deepEqual(predict("@byeori", { choice: "none" }), [[], []]);
});

test("the policy applies if the chosen persona has left the room", () => {
  assert.deepEqual(predict("hello", { choice: "gone" })[0], ["garam"]);
});

test("a mention is a whole handle in any case, with Korean particles", () => {
  const handles = ["garam", "가람", "가람이"];
  const found = (text) => [...mentioned(text, handles)];

  assert.deepEqual(found("@GARAM, look"), ["garam"]);
  assert.deepEqual(found("@garam님께"), ["garam"]);
  assert.deepEqual(found("@가람에게"), ["가람"]);
  assert.deepEqual(found("@가람이"), ["가람이"]);
  assert.deepEqual(found("@가람마루 a@garam @@garam https://a.example/@garam @garamond"), []);
});
