// Who answers a message, as the composer shows it: the cases are those of the server's tests.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { mentionsIn } from "../../static/rooms/composer/mentions.js";
import { NOWHERE, responders, silence } from "../../static/rooms/composer/responders.js";
import { around, fill } from "../../static/maru/translations.js";

const read = (path) => JSON.parse(readFileSync(new URL(path, import.meta.url), "utf-8"));
const rules = read("../rooms/runs/responders.json");
const mentions = read("../rooms/markup/mentions.json");

for (const { name, room, message, expect } of rules.cases) {
  test(name, () => {
    const handles = room.personas ?? rules.personas;
    const answering = {
      policy: room.policy ?? "default",
      personas: handles.map((handle) => ({ id: handle, handle, enabled: !room.off?.includes(handle) })),
      default: room.default ?? null,
      muted: room.muted ?? [],
      mode: room.mode ?? "each",
      lead: room.lead ?? null,
    };
    const { mentioned = [], named = null, mentions_first = false, in_turn = false, ...place } = message;
    const addressed = {
      mentioned: new Set(mentioned),
      named,
      mentions_first,
      in_turn,
      place: { ...NOWHERE, ...place },
    };

    const answers = responders(addressed, answering).map(({ persona, why }) => [persona, why]);

    assert.deepEqual(answers.length ? answers : silence(addressed, answering), expect);
  });
}

for (const [text, expected] of mentions.cases) {
  test(`mentions in ${JSON.stringify(text)}`, () => {
    assert.deepEqual([...mentionsIn(text, mentions.handles)].sort(), [...expected].sort());
  });
}

for (const [sentence, values, expected] of read("../accounts/particles.json")) {
  test(`particles of ${JSON.stringify([sentence, values])}`, () => {
    assert.equal(fill(sentence, values), expected);
  });
}

test("the text around a name is split so that the name can be bold", () => {
  assert.deepEqual(around("%(names)s이(가) 답합니다:", "가람"), ["", "이 답합니다:"]);
  assert.deepEqual(around("Now %(names)s will answer:", "Garam"), ["Now ", " will answer:"]);
});

test("a long text of signs is examined in a short time", () => {
  const started = performance.now();
  mentionsIn("@나리에게서".repeat(3_000), ["나리", "bot"]);
  assert.ok(performance.now() - started < 500);
});
