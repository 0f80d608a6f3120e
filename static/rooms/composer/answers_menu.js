// @ts-check
// Shows in the composer's bar which personas will answer; the writer can choose personas in a menu.

import { responders, personasToSend } from "./responders.js";
import { clone, part, setMark, setText } from "../elements.js";
import { fill, gettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */

export class AnswersMenu {
  #choice = "usual";

  /**
   * @param {HTMLElement} composer
   * @param {RoomState} state
   * @param {() => string} text of the composer
   */
  constructor(composer, state, text) {
    this.menu = part(composer, "[data-answers-menu]");
    this.words = part(composer, "[data-answers]");
    this.opener = part(composer, "[data-answers-opener]");
    this.state = state;
    this.text = text;
    this.menu.addEventListener("click", (event) => this.#onClick(event));
  }

  /** @returns {string[] | null} the value of `personas` in `message.send` */
  get personas() {
    return personasToSend(this.#question);
  }

  /** Shows who will answer. Call this when the text, the room or its personas have changed. */
  show() {
    const names = responders(this.#question).map(({ name }) => name);
    setText(this.words.parentElement ?? this.words, "[data-answers]", this.#label(names));
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

  get #question() {
    const { room, personas, members } = this.state;
    const [text, choice] = [this.text(), this.#choice];
    return { room, personas: personas.values(), people: members.values(), text, choice };
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

  /** @param {string} choice */
  #choose(choice) {
    this.#choice = choice;
    for (const item of this.menu.querySelectorAll("[name=answers]")) {
      item.setAttribute("aria-checked", String(item.getAttribute("value") === choice));
    }
    this.show();
  }
}
