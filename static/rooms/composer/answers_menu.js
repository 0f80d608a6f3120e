// @ts-check
// Shows in the composer's bar which personas will answer; the writer can choose personas in a menu.

import { clone, part, setMark, setText } from "../elements.js";
import { fill, gettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */

/** `usual`: the room's answer policy decides. `none`: no persona answers. Otherwise the id of a persona.
 * @typedef {string} Choice */

/** The question that the server answers with the ids of personas.
 * @typedef {{text: string, personas: string[] | null}} Question */

const ASK_AFTER_MS = 200;
// The signs that may begin a mention; the same as in rooms/markup/mentions.py.
const SIGN = /[@＠﹫]/u;

/**
 * Returns `personas` for `message.send`: null if the answer policy decides. Mentioned personas answer instead.
 * @param {Choice} choice
 * @returns {string[] | null}
 */
export function personasToSend(choice) {
  if (choice === "usual") return null;
  return choice === "none" ? [] : [choice];
}

export class AnswersMenu {
  /** @type {Choice} */
  #choice = "usual";
  /** The question whose answer is shown; the server has rendered the page for a text without mentions. */
  #shown = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * @param {HTMLElement} composer
   * @param {RoomState} state
   * @param {() => string} text of the composer
   * @param {(question: Question) => Promise<string[]>} ask returns the ids of the personas that would answer
   */
  constructor(composer, state, text, ask) {
    this.menu = part(composer, "[data-answers-menu]");
    this.words = part(composer, "[data-answers]");
    this.opener = part(composer, "[data-answers-opener]");
    this.state = state;
    this.text = text;
    this.ask = ask;
    this.menu.addEventListener("click", (event) => this.#onClick(event));
  }

  /** @returns {string[] | null} the value of `personas` in `message.send` */
  get personas() {
    return personasToSend(this.#choice);
  }

  /** Shows who will answer. Call this when the text has changed. */
  show() {
    const question = this.#question;
    const key = JSON.stringify(question);
    clearTimeout(this.#timer);
    if (key === this.#shown) return;
    this.#timer = setTimeout(() => void this.#ask(question, key), this.#shown ? ASK_AFTER_MS : 0);
  }

  /** Asks again. Call this when the room, its personas or the connection have changed. */
  refresh() {
    this.#shown = "";
    this.show();
  }

  /** Fills the menu. Call this when the personas of the room have changed. */
  list() {
    const items = [...this.state.personas.values()].map((persona) => {
      const item = clone("answers-item");
      item.setAttribute("value", persona.id);
      setMark(item, { kind: "persona", wood: "", ...persona });
      setText(item, "[data-name]", persona.name);
      return item;
    });
    part(this.menu, "[data-answers-personas]").replaceChildren(...items);
    const known = ["usual", "none", ...this.state.personas.keys()];
    this.#choose(known.includes(this.#choice) ? this.#choice : "usual");
  }

  /** A text without a sign has no mention: all these texts are one question. @returns {Question} */
  get #question() {
    const text = this.text();
    return { text: SIGN.test(text) ? text : "", personas: this.personas };
  }

  /** @param {Question} question @param {string} key */
  async #ask(question, key) {
    const ids = await this.ask(question).catch(() => null); // asked again when the connection is open
    if (!ids || key !== JSON.stringify(this.#question)) return;
    this.#shown = key;
    const names = ids.map((id) => this.state.personas.get(id)?.name ?? "").filter(Boolean);
    setText(this.words.parentElement ?? this.words, "[data-answers]", this.#label(names));
  }

  /** @param {string[]} names @returns {string} */
  #label(names) {
    const policy = this.state.room.answer_policy;
    const open = this.#choice === "usual" && (policy === "mention" || policy === "thread");
    if (!names.length) return open ? gettext("mentioned personas") : gettext("no persona");
    if (names.length <= 2) return names.join(", ");
    return fill(gettext("%(name)s and %(count)s more"), { name: names[0], count: names.length - 1 });
  }

  /** @param {Event} event */
  #onClick(event) {
    const item = /** @type {Element} */ (event.target).closest("[name=answers]");
    if (!(item instanceof HTMLButtonElement)) return;
    event.preventDefault(); // without scripts the button submits the form
    this.#choose(item.value);
    this.menu.hidePopover();
  }

  /** @param {Choice} choice */
  #choose(choice) {
    this.#choice = choice;
    for (const item of this.menu.querySelectorAll("[name=answers]")) {
      item.setAttribute("aria-checked", String(item.getAttribute("value") === choice));
    }
    this.refresh();
  }
}
