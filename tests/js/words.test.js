// Quotes in Markdown, and the sentences of failed answers.

import assert from "node:assert/strict";
import { test } from "node:test";

import { failureWords, setFailures } from "../../static/rooms/failures.js";
import { asQuote } from "../../static/rooms/tools/quote.js";

test("each line of a quote has its mark, also empty ones", () => {
  assert.equal(asQuote("one\n\n  two\n> three\n"), "> one\n>\n>   two\n> > three");
});

test("a failure is worded by its reason, its code, or the sentence of the event", () => {
  setFailures({ timeout: "Too slow.", persona_off: "%(persona)s is off." });

  assert.equal(failureWords({ code: "timeout", detail: "느립니다." }), "Too slow.");
  assert.equal(
    failureWords({ code: "not_allowed", detail: "-", reason: "persona_off", persona: "Garam" }),
    "Garam is off.",
  );
  assert.equal(failureWords({ code: "of_a_later_version", detail: "As worded." }), "As worded.");
  assert.equal(failureWords(null), "The answer failed.");
});
