// Prints what the page's scripts make of steps and arguments, and which characters they escape;
// tests/rooms/pages/test_acting_arguments.py compares it with the server's.
// Stdin: {words, layout, calls, steps: [{steps, done}], arguments: [text]}.

import { readFileSync } from "node:fs";

import { argumentRows, visible } from "../../static/rooms/acting/arguments.js";
import { callTitle, setCallWords } from "../../static/rooms/acting/call_words.js";
import { stepLines, stepNote } from "../../static/rooms/acting/steps.js";

const { words, layout, calls, steps, arguments: texts } = JSON.parse(readFileSync(0, "utf-8"));
globalThis.eval(words); // the script of the language, which defines gettext for all modules
setCallWords(calls);

const lines = steps.map(({ steps: all, done }) => {
  const { rows, fold } = stepLines(all, layout, { done, asking: new Set() });
  return { rows: rows.map((step) => [step.state, layout.step_signs[step.state], callTitle(step), stepNote(step)]), fold };
});
const rows = texts.map((text) => {
  const { rows: shown, isCut } = argumentRows(text, layout);
  return { rows: shown, is_cut: isCut };
});
const escaped = Array.from({ length: 0x110000 }, (_, number) => number).filter((number) => {
  const character = String.fromCodePoint(number);
  return visible(character) !== character;
});
process.stdout.write(JSON.stringify({ lines, rows, escaped }));
