// @ts-check
// Sentences for screen readers: one per event, none for the deltas of a streaming answer.

import { callTitle } from "./acting/call_words.js";
import { outcomeSentence } from "./acting/sentences.js";
import { part } from "./elements.js";
import { failureWords } from "./failures.js";
import { fill, gettext } from "../maru/translations.js";

/** @typedef {import("./room_state.js").RoomState} RoomState */
/** @typedef {import("./protocol.js").Frame} Frame */

const LONGEST = 120;

/** The two regions of a room that screen readers read. */
export class Announcer {
  /** @param {HTMLElement} conversation */
  constructor(conversation) {
    this.spoken = part(conversation, "[data-spoken]");
    this.alert = part(conversation, "[data-alert]");
  }

  /** @param {string} sentence; "" is not announced */
  say(sentence) {
    if (sentence) this.spoken.textContent = sentence;
  }

  /** Announces a sentence at once; it interrupts the screen reader. @param {string} sentence */
  sayNow(sentence) {
    this.alert.textContent = sentence;
  }

  clear() {
    this.spoken.textContent = "";
  }
}

/**
 * @param {Frame} frame that was just applied
 * @param {RoomState} state
 * @param {import("./protocol.js").Change[]} [changes] of the frame
 * @returns {string} a sentence, or ""
 */
export function sentenceFor(frame, state, changes = []) {
  if (changes.some(({ what }) => what === "steering")) return gettext("Steering applied");
  if (frame.type === "message.created") return posted(frame.message, state);
  if (frame.type === "message.deleted") return gettext("A message was deleted.");
  if (frame.type === "message.completed") {
    const { author, text } = frame.message;
    const words = { name: author.name, text: start(text) };
    return fill(gettext("%(name)s answered: %(text)s"), words);
  }
  if (frame.type === "approval.requested") return asked(frame.approval, state);
  if (frame.type === "approval.decided") return decided(frame.approval, state);
  if (frame.type === "question.asked") return questioned(frame.question, state);
  if (frame.type === "question.answered") return answered(frame.question);
  const name = state.personas.get(frame.run?.persona)?.name;
  if (!name) return "";
  if (frame.type === "run.started" && frame.run.round) return inTurn(frame.run, name, state);
  if (frame.type === "run.started") return fill(gettext("%(name)s is answering"), { name });
  if (frame.type === "run.cancelled") {
    return fill(gettext("The answer of %(name)s was stopped"), { name });
  }
  if (frame.type === "run.failed") {
    const reason = failureWords(frame.run.error);
    return fill(gettext("%(name)s did not answer. %(reason)s"), { name, reason });
  }
  return "";
}

/** @param {import("./protocol.js").Message} message @param {RoomState} state */
function posted({ author, text }, state) {
  if (author.kind !== "user" || author.id === state.me) return "";
  return fill(gettext("%(name)s: %(text)s"), { name: author.name, text: start(text) });
}

/** @param {import("./protocol.js").Approval} approval @param {RoomState} state */
function asked(approval, state) {
  const { persona, asked_of: deciders } = approval;
  const name = state.personas.get(persona)?.name ?? "";
  if (!deciders.includes(state.me)) return fill(gettext("%(name)s waits for a decision"), { name });
  return fill(gettext("%(name)s asks to use %(tool)s. You can decide."), { name, tool: callTitle(approval) });
}

/** @param {import("./protocol.js").Approval} approval @param {RoomState} state */
function decided(approval, state) {
  const { state: outcome, for_run: forRun, by_name: name = "", by } = approval;
  if (by === state.me) return "";
  if (outcome === "allowed" && forRun) return fill(gettext("Allowed for this run by %(name)s"), { name });
  if (outcome === "allowed") return fill(gettext("Allowed once by %(name)s"), { name });
  if (outcome === "denied") return fill(gettext("Denied by %(name)s"), { name });
  return fill(outcomeSentence(approval, false), { tool: callTitle(approval) });
}

/** @param {import("./protocol.js").Question} question @param {RoomState} state */
function questioned({ persona, text, asked_of: people }, state) {
  const name = state.personas.get(persona)?.name ?? "";
  if (!people.includes(state.me)) return fill(gettext("%(name)s waits for an answer"), { name });
  return fill(gettext("%(name)s asks you: %(text)s"), { name, text: start(text) });
}

/** @param {import("./protocol.js").Question} question */
function answered({ answers }) {
  const last = answers.at(-1);
  return last ? fill(gettext("%(name)s: %(text)s"), { name: last.name, text: start(last.text) }) : "";
}

/** @param {import("./protocol.js").Run} run @param {string} name @param {RoomState} state */
function inTurn({ id, message }, name, state) {
  const steps = state.message(message)?.round?.steps ?? [];
  const number = steps.findIndex(({ run }) => run === id) + 1;
  if (!number) return fill(gettext("%(name)s is answering"), { name });
  return fill(gettext("%(name)s, %(number)s of %(count)s, is answering"), { name, number, count: steps.length });
}

/** @param {string} text @returns {string} */
function start(text) {
  const letters = Array.from(text.replace(/\s+/gu, " ").trim());
  return letters.length > LONGEST ? `${letters.slice(0, LONGEST).join("")}…` : letters.join("");
}
