// @ts-check
// The tool calls of an answer, each in one line; rooms/pages/acting/step_lines.py renders the same.

import { elapsed } from "../dates.js";
import { clone, part, setText } from "../elements.js";
import { callResult, callTitle } from "./call_words.js";
import { setItems, setSign } from "./sentences.js";
import { fill, gettext, ngettext } from "../../maru/translations.js";

/** @typedef {import("../protocol.js").CallStep} CallStep */
/** @typedef {import("../protocol.js").Step} Step */
/** @typedef {import("../timeline/layout_rules.js").LayoutRules} LayoutRules */

const ENDED = new Set(["done", "failed", "denied", "unknown"]);

/**
 * Returns the stored steps with what `tool.started` and `tool.finished` have told since.
 * @param {CallStep[]} [stored] @param {Step[]} [live] @returns {CallStep[]}
 */
export function mergedSteps(stored = [], live = []) {
  const steps = new Map(stored.map((step) => [step.call, step]));
  for (const { call, tool, summary, ms, done } of live) {
    const step = steps.get(call);
    if (step && (done || ENDED.has(step.state))) continue; // the result is in the message
    const unknown = { call, tool, title: summary || tool, ms, result: null };
    steps.set(call, { ...(step ?? unknown), state: done ? "done" : "running" });
  }
  return [...steps.values()];
}

/**
 * @param {CallStep[]} steps
 * @param {LayoutRules} rules
 * @param {{done: boolean, asking: Set<string>}} about `asking` are calls that a card shows
 * @returns {{rows: CallStep[], fold: string}} `fold` is the line that stands for the rows; "" if they are shown
 */
export function stepLines(steps, rules, { done, asking }) {
  const rows = steps.filter(({ call, state }) => rules.step_signs[state] && !asking.has(call));
  if (!done || rows.length < rules.fold_steps_from) return { rows, fold: "" };
  const time = duration(rows.reduce((sum, { ms }) => sum + (ms ?? 0), 0));
  const sentence = time
    ? ngettext("%(count)s step, %(time)s", "%(count)s steps, %(time)s", rows.length)
    : ngettext("%(count)s step", "%(count)s steps", rows.length);
  return { rows, fold: fill(sentence, { count: rows.length, time }) };
}

/** @param {CallStep} step @returns {string} the result of a call in a word, and its duration */
export function stepNote(step) {
  const { state, ms, denial } = step;
  if (state === "unknown") return gettext("result unknown, not repeated");
  if (state === "denied") return denialWords(denial);
  const word = callResult(step) || (state === "failed" ? gettext("failed") : "");
  return [word, ms === null ? "" : duration(ms)].filter(Boolean).join(", ");
}

/** @param {CallStep["denial"]} denial @returns {string} why a call was denied; without a reason, people have denied it */
function denialWords(denial) {
  if (denial === "changed") return gettext("not carried out: the tool has changed");
  if (denial === "not_allowed") return gettext("not carried out: the persona may not use this tool now");
  if (denial === "no_decider") return gettext("denied: nobody here may decide");
  if (denial === "expired") return gettext("denied: nobody decided in time");
  if (denial === "run_ended") return gettext("not carried out: the answer has ended");
  return gettext("denied");
}

/** @param {number} ms @returns {string} "0.6 s", "8 s", "1:02" */
function duration(ms) {
  if (ms >= 60_000) return elapsed(ms);
  const seconds = Math.round(ms / 100) / 10;
  return seconds ? fill(gettext("%(seconds)s s"), { seconds }) : ""; // too short to tell
}

/**
 * @param {HTMLElement} article
 * @param {CallStep[]} steps
 * @param {LayoutRules} rules
 * @param {{done: boolean, asking: Set<string>, mayOpen: (step: CallStep) => boolean}} about
 */
export function setSteps(article, steps, rules, about) {
  const place = article.querySelector("[data-steps]");
  if (!place) return;
  const { rows, fold } = stepLines(steps, rules, about);
  if (!rows.length) return place.replaceChildren();
  const list = place.querySelector("ol") ?? document.createElement("ol");
  list.className = "steps";
  const folded = place.querySelector("details");
  if (fold && !folded) {
    const details = document.createElement("details");
    details.className = "fold steps-fold";
    details.open = list.contains(document.activeElement);
    details.append(document.createElement("summary"), list);
    place.replaceChildren(details);
  } else if (!fold && (folded || !list.isConnected)) {
    place.replaceChildren(list);
  }
  if (fold) setText(place, "summary", fold);
  const items = rows.map((step) => ({ id: step.call, item: step }));
  setItems(list, "data-call", items, () => clone("step"), (row, step) => setStep(row, step, rules, about.mayOpen(step)));
}

/** @param {HTMLElement} row @param {CallStep} step @param {LayoutRules} rules @param {boolean} mayOpen */
function setStep(row, step, rules, mayOpen) {
  row.dataset.state = step.state;
  setSign(part(row, "[data-sign]"), rules.step_signs[step.state]);
  const title = part(row, "[data-words]");
  setText(row, "[data-words]", callTitle(step));
  setText(row, "[data-note]", stepNote(step));
  const opener = row.querySelector("[data-open-step]");
  const isOpenable = mayOpen && !("closed" in row.dataset);
  if (isOpenable && !opener) title.replaceWith(openerOf(title));
  else if (!isOpenable && opener) opener.replaceWith(title);
}

/** @param {HTMLElement} title @returns {HTMLElement} a button around a copy of the title */
function openerOf(title) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "step-open";
  button.dataset.openStep = "";
  button.setAttribute("aria-expanded", "false");
  button.append(title.cloneNode(true));
  return button;
}
