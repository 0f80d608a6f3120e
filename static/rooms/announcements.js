// @ts-check
// Sentences for screen readers: one per event, none for the deltas of a streaming answer.

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
 * @returns {string} a sentence, or ""
 */
export function sentenceFor(frame, state) {
  if (frame.type === "message.created") return posted(frame.message, state);
  if (frame.type === "message.deleted") return gettext("A message was deleted.");
  if (frame.type === "message.completed") {
    const { author, text } = frame.message;
    const words = { name: author.name, text: start(text) };
    return fill(gettext("%(name)s answered: %(text)s"), words);
  }
  const name = state.personas.get(frame.run?.persona)?.name;
  if (!name) return "";
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

/** @param {string} text @returns {string} */
function start(text) {
  const letters = Array.from(text.replace(/\s+/gu, " ").trim());
  return letters.length > LONGEST ? `${letters.slice(0, LONGEST).join("")}…` : letters.join("");
}
