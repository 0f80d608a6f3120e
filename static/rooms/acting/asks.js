// @ts-check
// What personas ask of people below an answer: decisions on calls, and questions. Who may decide or answer gets a card,
// the others one line; rooms/pages/acting/asks.py renders the same. An ask that has ended is one line for all.

import { clockTime, dayKey, dayOfMonth } from "../dates.js";
import { clone, neededPart, part, setText } from "../elements.js";
import { argumentRows, visible } from "./arguments.js";
import { callTitle } from "./call_words.js";
import { outcomeSentence, setItems, setSentence, setSign } from "./sentences.js";
import { fill, gettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Approval} Approval */
/** @typedef {import("../protocol.js").Question} Question */

/** @typedef {import("./ask_state.js").Ask} Ask */
/** @typedef {import("./ask_state.js").Details} Details */

const SIGNS = /** @type {Record<string, string>} */ ({
  allowed: "check",
  answered: "check",
  denied: "ban",
  expired: "clock",
  withdrawn: "minus",
});

/**
 * Shows the asks of a run below its answer.
 * @param {HTMLElement} article
 * @param {Ask[]} asks
 * @param {RoomState} state
 */
export function setAsks(article, asks, state) {
  const box = neededPart(article, "asks", asks.length > 0, (made) => {
    const steered = article.querySelector("[data-steered]");
    (steered ?? part(article, ".message-end")).before(made);
  });
  if (!box) return;
  const items = asks.map((each) => ({ id: each.ask.id, item: each }));
  const prefix = article.id.slice(0, article.id.indexOf("message-"));
  setItems(
    box,
    "data-ask",
    items,
    ({ kind, ask }) => made(kind, ask.id, prefix),
    (section, ask) => setAsk(section, ask, state),
  );
}

/** @param {string} kind @param {string} id @param {string} prefix of ids @returns {HTMLElement} */
function made(kind, id, prefix) {
  const section = clone(kind);
  section.id = `${prefix}ask-${id}`;
  const title = part(section, "[data-title]");
  title.id = `${prefix}ask-title-${id}`;
  section.setAttribute("aria-labelledby", title.id);
  return section;
}

/** @param {HTMLElement} section @param {Ask} item @param {RoomState} state */
function setAsk(section, item, state) {
  if (item.ask.state !== "asked" && item.ask.state !== "open") end(section, item, state);
  else if (item.kind === "approval") setApproval(section, item.ask, state);
  else setQuestion(section, item.ask, state);
}

/** @param {HTMLElement} section @param {Approval} ask @param {RoomState} state */
function setApproval(section, ask, state) {
  const details = state.asks.details.get(ask.id);
  const isMine = state.asks.isMine({ kind: "approval", ask });
  const isCard = isMine && typeof details === "object";
  const names = { persona: state.personas.get(ask.persona)?.name ?? "", tool: callTitle(ask) };
  setSentence(part(section, "[data-title]"), gettext("%(persona)s asks to use %(tool)s"), names);
  const wasCard = section.hasAttribute("data-mine");
  if (isCard && wasCard) setText(section, "[data-note]", cardNote(ask, state)); // the server may not know the time zone
  if (wasCard) return;
  section.toggleAttribute("data-mine", isCard);
  part(section, ".tag").hidden = !isCard || !ask.changes;
  for (const name of ["[data-arguments]", ".ask-json", ".ask-acts"]) part(section, name).hidden = !isCard;
  part(section, "[data-for-run]").hidden = !ask.may_for_run;
  section.querySelector("[data-load]")?.toggleAttribute("hidden", details !== "failed");
  const mine = details === "failed" ? gettext("What it would send could not be loaded.") : "";
  setText(section, "[data-note]", isCard ? cardNote(ask, state) : isMine ? mine : deciders(ask.asked_of, state));
  if (isCard) setArguments(section, details, state);
}

/** @param {HTMLElement} section @param {Details} details @param {RoomState} state */
function setArguments(section, details, { rules }) {
  const { rows, isCut } = argumentRows(details.arguments, rules);
  const list = rows.map(([name, value]) => {
    const row = document.createElement("div");
    for (const [tag, text] of [["dt", name], ["dd", value]]) {
      const bdi = document.createElement("bdi");
      bdi.textContent = text;
      row.appendChild(document.createElement(tag)).append(bdi);
    }
    return row;
  });
  const place = part(section, "[data-arguments]");
  place.replaceChildren(...list);
  place.hidden = !list.length; // a call may need none
  part(section, "[data-json]").textContent = visible(details.arguments);
  part(section, "[data-cut]").hidden = !isCut;
  for (const field of section.querySelectorAll("[name=arguments_sha256]")) {
    /** @type {HTMLInputElement} */ (field).value = details.arguments_sha256;
  }
}

/** @param {Approval} ask @param {RoomState} state @returns {string} */
function cardNote({ run, expires_at: until }, state) {
  const asker = state.runs.get(run)?.requested_by ?? "";
  const name = state.members.get(asker)?.name;
  const others = name ? fill(gettext("For %(name)s's question."), { name }) : "";
  const denied = until && fill(gettext("Denied if nobody decides by %(time)s."), { time: soon(new Date(until)) });
  return [asker === state.me ? gettext("For your question.") : others, denied].filter(Boolean).join(" ");
}

/** @param {string[]} askedOf @param {RoomState} state @returns {string} who decides, for the others */
function deciders(askedOf, { members }) {
  const names = askedOf.flatMap((user) => members.get(user)?.name ?? []);
  const others = askedOf.length - 1;
  if (!names.length) return gettext("What it would send is shown only to the people who decide.");
  const one = gettext("%(name)s decides. What it would send is shown to them only.");
  const two = gettext("%(name)s or %(other)s decides. What it would send is shown to them only.");
  const another = gettext("%(name)s or another person decides. What it would send is shown to them only.");
  const more = gettext("%(name)s or %(count)s others decide. What it would send is shown to them only.");
  const sentence = [one, names.length === 2 ? two : another][others] ?? more;
  return fill(sentence, { name: names[0], other: names.at(-1) ?? "", count: others });
}

/** @param {HTMLElement} section @param {Question} ask @param {RoomState} state */
function setQuestion(section, ask, state) {
  const isMine = state.asks.isMine({ kind: "question", ask });
  const asked = ask.asked_of.flatMap((user) => state.members.get(user)?.name ?? []);
  const toMe = ask.asked_of.includes(state.me);
  const sentence = toMe ? gettext("%(persona)s asks you") : gettext("%(persona)s asks %(names)s");
  const names = { persona: state.personas.get(ask.persona)?.name ?? "", names: asked.join(", ") };
  setSentence(part(section, "[data-title]"), sentence, names);
  setText(section, "[data-text]", ask.text);
  setAnswers(section, ask);
  const wasMine = section.hasAttribute("data-mine");
  const form = part(section, "[data-answer]");
  const mayClose = state.mayClose(state.runs.get(ask.run));
  section.toggleAttribute("data-mine", isMine);
  section.toggleAttribute("data-may-close", mayClose);
  part(section, "[data-close]").hidden = !mayClose;
  part(section, ".ask-acts").hidden = !isMine && !mayClose;
  const time = soon(new Date(ask.expires_at));
  setText(section, "[data-note]", isMine ? fill(gettext("The answer goes on without you after %(time)s."), { time }) : "");
  if (wasMine && !isMine && form.contains(document.activeElement)) section.focus();
  form.hidden = !isMine;
  if (!isMine || wasMine) return;
  if (!ask.choices.length) return;
  const buttons = ask.choices.map((choice) => {
    const button = /** @type {HTMLButtonElement} */ (clone("choice"));
    button.value = choice;
    part(button, "bdi").textContent = choice;
    return button;
  });
  form.replaceChildren(...buttons);
}

/** @param {HTMLElement} section @param {Question} ask */
function setAnswers(section, { answers }) {
  const lines = answers.map(({ name, text }) => {
    const line = document.createElement("p");
    line.className = "ask-answer";
    setSentence(line, gettext("%(name)s: “%(text)s”"), { name, text });
    return line;
  });
  for (const line of section.querySelectorAll(".ask-answer")) line.remove();
  part(section, "[data-note]").before(...lines);
}

/**
 * Turns a card or a line into a line that says how it ended. The card keeps its height while the pointer or the
 * focus is in it.
 * @param {HTMLElement} section @param {Ask} item @param {RoomState} state
 */
function end(section, item, state) {
  const { ask } = item;
  const isLost = String(state.asks.lost.has(ask.id));
  if (section.dataset.state === ask.state && section.dataset.lost === isLost) return;
  const hadFocus = section.contains(document.activeElement);
  if (section.isConnected && isHeld(section)) hold(section);
  section.dataset.state = ask.state;
  section.dataset.lost = isLost;
  section.removeAttribute("data-mine");
  for (const name of ["data-may-close", "data-denying"]) section.removeAttribute(name);
  for (const each of section.querySelectorAll(":scope > :not(.ask-head, [data-text], .ask-answer)")) each.remove();
  for (const each of section.querySelectorAll(".tag, .ask-time")) each.remove();
  setSign(part(section, "[data-sign]"), SIGNS[ask.state], 16);
  const title = part(section, "[data-title]");
  if (item.kind === "approval") setOutcome(title, item.ask, state);
  else setQuestionEnd(section, title, item.ask, state);
  if (hadFocus) section.focus();
}

/**
 * Whether the pointer or the keyboard is in a card. A finger that has pressed a button is not, and after a click the
 * focus stays behind without being shown.
 * @param {HTMLElement} section @returns {boolean}
 */
function isHeld(section) {
  const isOver = matchMedia("(hover: hover)").matches && section.matches(":hover");
  return isOver || section.matches(":focus-visible, :has(:focus-visible)");
}

/** @param {HTMLElement} section */
function hold(section) {
  section.style.minHeight = `${section.offsetHeight}px`;
  const release = () => {
    if (isHeld(section)) return;
    section.style.minHeight = "";
    section.removeEventListener("pointerleave", release);
    section.removeEventListener("focusout", later);
  };
  const later = () => setTimeout(release); // the focus has not moved yet
  section.addEventListener("pointerleave", release);
  section.addEventListener("focusout", later);
}

/** @param {HTMLElement} title @param {Approval} ask @param {RoomState} state */
function setOutcome(title, ask, state) {
  setSentence(title, outcomeSentence(ask, state.asks.lost.has(ask.id)), { tool: callTitle(ask), name: ask.by_name ?? "" });
  if (!ask.at) return;
  const time = document.createElement("time");
  time.className = "ask-time";
  time.dateTime = ask.at;
  time.textContent = clockTime(new Date(ask.at), document.documentElement.lang);
  title.after(time);
}

/** @param {HTMLElement} section @param {HTMLElement} title @param {Question} ask @param {RoomState} state */
function setQuestionEnd(section, title, ask, state) {
  const persona = state.personas.get(ask.persona)?.name ?? "";
  const sentences = /** @type {Record<string, string>} */ ({
    answered: gettext("%(persona)s asked"),
    expired: gettext("%(persona)s asked, and nobody answered in time"),
    withdrawn: gettext("%(persona)s asked. No longer needed: the answer was stopped."),
  });
  setSentence(title, sentences[ask.state], { persona });
  for (const line of section.querySelectorAll(".ask-answer")) line.remove();
  const note = document.createElement("p");
  note.dataset.note = "";
  section.append(note);
  setAnswers(section, ask);
  note.remove();
}

/** @param {Date} moment of the near future @returns {string} "14:31", "tomorrow, 14:31", "21 November, 14:31" */
export function soon(moment, now = new Date()) {
  const language = document.documentElement.lang;
  const time = clockTime(moment, language);
  if (moment <= now || dayKey(moment) === dayKey(now)) return time;
  const tomorrow = new Date(now.getFullYear(), now.getMonth(), now.getDate() + 1);
  if (dayKey(moment) === dayKey(tomorrow)) return fill(gettext("tomorrow, %(time)s"), { time });
  return fill(gettext("%(day)s, %(time)s"), { day: dayOfMonth(moment, language), time });
}
