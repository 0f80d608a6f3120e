// @ts-check
// One message on the page. A change of state changes attributes and texts; no element is rebuilt.

import { setSign } from "../acting/sentences.js";
import { clone, neededPart, part, setMark, setText } from "../elements.js";
import { failureWords } from "../failures.js";
import { shownHandle } from "../namesakes.js";
import { setGrowing, setHtml, setPlain } from "./message_body.js";
import { setSteerButton } from "./steer_button.js";
import { fill, gettext, ngettext } from "../../maru/translations.js";

/** @typedef {import("../elements.js").Speaker} Speaker */
/** @typedef {import("../room_state.js").AnswerState} AnswerState */
/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("./layout_rules.js").StateRules} StateRules */
/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../protocol.js").Run} Run */

/** @param {Speaker} speaker @param {RoomState} state @returns {HTMLElement} an empty message of this speaker */
export function makeMessage(speaker, state) {
  const article = clone(speaker.kind);
  article.dataset.authorId = speaker.id ?? "";
  setSpeaker(article, speaker, state);
  if (speaker.kind === "persona") part(article, "[data-body]").replaceChildren();
  return article;
}

/** @param {HTMLElement} article @param {Speaker} speaker @param {RoomState} state */
export function setSpeaker(article, speaker, state) {
  if (speaker.kind === "persona") article.dataset.pigment = speaker.pigment;
  setMark(part(article, ".message-side"), speaker);
  setText(article, "[data-name]", speaker.name);
  setCardLink(part(article, ".message-name"), speaker, state);
  const handle = shownHandle(state, speaker);
  neededPart(article, "shown-handle", handle !== "", (made) => part(article, ".message-name").after(made));
  setText(article, "[data-shown-handle]", handle);
  setText(article, "[data-role]", speaker.role);
}

/** Links the name of a known member or persona of the room to the profile card. @param {HTMLElement} link @param {Speaker} speaker @param {RoomState} state */
function setCardLink(link, { kind, id }, state) {
  const isKnown = id && (kind === "persona" ? state.personas : state.members).has(id);
  const folder = kind === "persona" ? "around/personas" : "around";
  if (isKnown) link.setAttribute("href", `/teams/${state.room.team}/${folder}/${id}/`);
  else link.removeAttribute("href");
}

/** Sets the id, seq and time of a message. @param {HTMLElement} article @param {Message} message @param {string} prefix of ids */
export function setIdentity(article, { id, room, seq, created_at: at }, prefix) {
  article.id = `${prefix}message-${id}`;
  article.dataset.seq = String(seq);
  article.dataset.at = at;
  const head = part(article, ".message-head");
  head.id = `${prefix}head-${id}`;
  article.setAttribute("aria-labelledby", head.id);
  article.querySelector("[data-again]")?.setAttribute("aria-describedby", head.id);
  part(article, ".message-time").setAttribute("href", `/rooms/${room}/messages/${id}/`);
  part(article, ".message-time > time").setAttribute("datetime", at);
}

/** @param {HTMLElement} article @param {Message} message @param {string} name of who has pinned it; may be "" */
export function setPinned(article, { pinned }, name) {
  neededPart(article, "pinned", Boolean(pinned), (made) => part(article, ".message-after").before(made));
  setText(article, "[data-pinned-words]", name ? fill(gettext("Pinned by %(name)s"), { name }) : gettext("Pinned"));
}

/**
 * Shows which version of an answer is shown, with links to the versions before and after it.
 * @param {HTMLElement} article
 * @param {Message} message the shown version
 * @param {number} [count] the number of versions; by default, `message` is the last one
 */
export function setVersions(article, message, count = message.answer_version ?? 1) {
  const foot = article.querySelector("[data-foot]");
  const row = foot && neededPart(article, "versions", count > 1, (made) => foot.prepend(made));
  if (!row) return;
  const number = message.answer_version ?? 1;
  setText(row, "[data-version-words]", fill(gettext("Answer %(number)s of %(count)s"), { number, count }));
  setLink(part(row, "[data-version-before]"), message.room, message.replaces);
  setLink(part(row, "[data-version-after]"), message.room, message.replaced_by);
}

/** @param {HTMLElement} link @param {string} room @param {string | null | undefined} message null removes the link */
function setLink(link, room, message) {
  if (message) link.setAttribute("href", `/rooms/${room}/messages/${message}/`);
  else link.removeAttribute("href");
}

/** @param {HTMLElement} article @param {Message} message @param {string} handle of the reader */
export function setWhole(article, message, handle) {
  setHtml(part(article, "[data-body]"), message, handle);
}

/**
 * Shows the text of an unfinished answer as Markdown.
 * @param {HTMLElement} article
 * @param {string} text
 * @param {RoomState} state
 * @returns {boolean} false if a part of a long text is not shown yet
 */
export function setStreamed(article, text, state) {
  const handles = () => [...state.members.values(), ...state.personas.values()].map(({ handle }) => handle);
  return setGrowing(part(article, "[data-body]"), text, handles);
}

/**
 * @param {HTMLElement} article
 * @param {AnswerState} state
 * @param {StateRules} rules of this state
 * @param {{
 *   run: Run | undefined, stoppedBy: string, why: string | null, maySee: Record<string, boolean>,
 *   waitsFor: import("./timeline_view.js").WaitsFor,
 * }} about
 */
export function setAnswerState(article, state, rules, { run, stoppedBy, why, maySee, waitsFor }) {
  article.dataset.state = state;
  if (rules.busy) article.setAttribute("aria-busy", "true");
  else article.removeAttribute("aria-busy");
  setRights(article, maySee);
  const asks = state === "waiting" && (waitsFor === "me" || waitsFor === "people");
  setSign(part(article, ".message-work > [data-sign]"), asks ? "hand" : "planks", 16);
  if (!article.dataset.tryingAgain) setText(article, "[data-work]", state === "waiting" ? waitWords(waitsFor) : workWords(state, why));
  setSteerButton(article, maySee.steer);
  setClock(article, rules.stop === "stop" ? (run?.started_at ?? new Date().toISOString()) : null);
  setStopButton(article, rules);
  setEnd(article, state, rules, run, stoppedBy);
  setText(article, "[data-figures]", rules.figures ? foot(run, why) : "");
  if (state === "queued") setPlain(part(article, "[data-body]"), queueWords(run?.position ?? null));
}

/** @param {HTMLElement} article @param {Record<string, boolean>} maySee by name of the button */
export function setRights(article, maySee) {
  article.dataset.may = Object.keys(maySee).filter((name) => maySee[name]).join(" ");
}

/** @param {HTMLElement} article @param {Message} message of a person */
export function setPersonState(article, { deleted, edited_at: edited }) {
  article.dataset.state = deleted ? "deleted" : "completed";
  const isEdited = Boolean(edited) && !deleted;
  neededPart(article, "edited", isEdited, (made) => part(article, "[data-pinned], .message-after").before(made));
  setText(article, "[data-edited]", gettext("Edited"));
}

/** @param {HTMLElement} article */
export function setDeleted(article) {
  part(article, "[data-body]").replaceChildren(gettext("This message was deleted."));
}

/**
 * Shows that the answer starts over, until `endTryingAgain`.
 * @param {HTMLElement} article
 * @param {number} attempt
 * @param {number} attempts
 */
export function setTryingAgain(article, attempt, attempts) {
  article.dataset.tryingAgain = String(attempt);
  const words = gettext("Trying again, %(attempt)s of %(attempts)s");
  // A run that has waited for people has more attempts.
  setText(article, "[data-work]", attempt > attempts ? gettext("Trying again") : fill(words, { attempt, attempts }));
}

/** @param {HTMLElement} article @param {number} attempt @returns {boolean} whether this attempt was still shown */
export function endTryingAgain(article, attempt) {
  if (article.dataset.tryingAgain !== String(attempt)) return false;
  delete article.dataset.tryingAgain;
  return true;
}

/** @param {HTMLElement} article */
export function showStopping(article) {
  const button = /** @type {HTMLButtonElement} */ (part(article, "[data-stop]"));
  // Keep the width, so that the layout does not move.
  button.style.minWidth = `${button.offsetWidth}px`;
  button.disabled = true;
  setText(article, "[data-stop-words]", gettext("Stopping"));
}

/** @param {AnswerState} state @param {string | null} [why] the reason of the answer @returns {string} */
export function workWords(state, why = null) {
  if (state === "thinking") return gettext("Thinking");
  if (state !== "streaming") return "";
  return why === "thread" ? gettext("Answering (follow-up)") : gettext("Answering");
}

/** @param {import("./timeline_view.js").WaitsFor} waitsFor @returns {string} */
function waitWords(waitsFor) {
  if (waitsFor === "me") return gettext("Waiting for you");
  if (waitsFor === "people") return gettext("Waiting for a decision");
  return waitsFor === "answer" ? gettext("Waiting for another answer") : gettext("Thinking");
}

/** @param {number | null} position @returns {string} */
function queueWords(position) {
  if (position === null) return gettext("Queued.");
  return fill(gettext("Queued: %(place)s."), { place: ordinal(position) });
}

/** @param {HTMLElement} article @param {number | null} limit that stopped the answers between personas here; 0: a full queue */
export function setCapped(article, limit) {
  const figures = article.querySelector("[data-figures]");
  const line = figures && neededPart(article, "capped", limit !== null, (made) => figures.after(made));
  if (!line) return;
  part(line, "[data-continue]").setAttribute("aria-describedby", article.getAttribute("aria-labelledby") ?? "");
  setText(line, "[data-capped-words]", cappedWords(limit ?? 0));
}

/** @param {number} limit @returns {string} */
function cappedWords(limit) {
  if (!limit) return gettext("The personas stopped here: too many questions are waiting. Continue when some are answered.");
  const sentence = ngettext(
    "The personas stopped here: the limit is %(count)s answer.",
    "The personas stopped here: the limit is %(count)s answers.",
    limit,
  );
  return fill(sentence, { count: limit });
}

/** @param {Run | undefined} run @param {string | null} why @returns {string} figures and reason of an answer */
function foot(run, why) {
  return [run ? figures(run) : "", whyWords(why)].filter(Boolean).join(", ");
}

/** @param {string | null} why @returns {string} the words of rooms/pages/answering.py; "" for an unknown reason */
function whyWords(why) {
  const words = /** @type {Record<string, string>} */ ({
    named: gettext("because it was chosen"),
    mention: gettext("because it was mentioned"),
    reply: gettext("because of a reply to it"),
    thread: gettext("because it follows this thread"),
    policy: gettext("because it answers here by default"),
    retry: gettext("because it was asked again"),
    round: gettext("because it was its turn"),
    led: gettext("because another persona asked it"),
  });
  return words[why ?? ""] ?? "";
}

/** @param {Run} run @returns {string} the known figures of an answer: duration, tokens and cost */
export function figures({ started_at: start, ended_at: end, usage }) {
  const words = [];
  if (start && end) {
    const seconds = Math.round((Date.parse(end) - Date.parse(start)) / 1000);
    if (seconds) words.push(fill(gettext("%(seconds)s s"), { seconds }));
  }
  const count = usage ? usage.input_tokens + usage.output_tokens : 0;
  if (count) words.push(fill(ngettext("%(count)s token", "%(count)s tokens", count), { count: grouped(count) }));
  if (usage?.cost) words.push(money(usage.cost, usage.currency ?? "USD"));
  return words.join(", ");
}

/** @param {number} count @returns {string} "1,016" */
function grouped(count) {
  return count.toLocaleString(document.documentElement.lang);
}

/** @param {number} place @returns {string} */
function ordinal(place) {
  if (!document.documentElement.lang.startsWith("en")) return String(place);
  const endings = /** @type {Record<string, string>} */ ({ one: "st", two: "nd", few: "rd", other: "th" });
  return `${place}${endings[new Intl.PluralRules("en", { type: "ordinal" }).select(place)]}`;
}

/** @param {string} cost @param {string} currency @returns {string} */
function money(cost, currency) {
  const style = { style: /** @type {const} */ ("currency"), currency, maximumSignificantDigits: 3 };
  return new Intl.NumberFormat(document.documentElement.lang, style).format(Number(cost));
}

/** @param {HTMLElement} article @param {string | null} since */
function setClock(article, since) {
  const clock = article.querySelector("[data-elapsed]");
  if (!(clock instanceof HTMLElement)) return;
  if (since) clock.dataset.since = since;
  else delete clock.dataset.since;
}

/** @param {HTMLElement} article @param {StateRules} rules */
function setStopButton(article, rules) {
  const button = article.querySelector("[data-stop]");
  if (!(button instanceof HTMLButtonElement) || button.disabled) return;
  const cancels = rules.stop === "cancel";
  const label = cancels ? gettext("Cancel %(name)s's answer") : gettext("Stop %(name)s's answer");
  const name = part(article, "[data-name]").textContent ?? "";
  button.setAttribute("aria-label", fill(label, { name }));
  button.dataset.kind = cancels ? "quiet" : "line";
  setText(button, "[data-stop-words]", cancels ? gettext("Cancel") : gettext("Stop"));
}

/** Removes from an article what belongs to a run: the state of Stop, steps, asks and steering. @param {HTMLElement} article */
export function resetRun(article) {
  const button = article.querySelector("[data-stop]");
  if (button instanceof HTMLButtonElement) {
    button.disabled = false;
    button.style.minWidth = "";
  }
  article.querySelector("[data-steps]")?.replaceChildren();
  for (const each of article.querySelectorAll("[data-asks], [data-steered]")) each.remove();
}

/** Enables the button again after a stop that was refused. @param {HTMLElement} article @param {StateRules} rules */
export function showStoppable(article, rules) {
  const button = /** @type {HTMLButtonElement} */ (part(article, "[data-stop]"));
  button.disabled = false;
  setStopButton(article, rules);
}

/**
 * @param {HTMLElement} article
 * @param {AnswerState} state
 * @param {StateRules} rules
 * @param {Run | undefined} run
 * @param {string} stoppedBy
 */
function setEnd(article, state, rules, run, stoppedBy) {
  const again = article.querySelector("[data-again]");
  if (!(again instanceof HTMLButtonElement)) return;
  const who = fill(gettext("Stopped by %(name)s"), { name: stoppedBy });
  const why = failureWords(run?.error);
  const stopped = stoppedBy ? who : gettext("Stopped");
  setText(article, "[data-end]", state === "stopped" ? stopped : state === "failed" ? why : "");
  const answersAgain = rules.again === "answer_again";
  again.dataset.kind = answersAgain ? "quiet" : "line";
  setText(again, "[data-again-words]", answersAgain ? gettext("Answer again") : gettext("Retry"));
}
