// @ts-check
// Shows in the composer which personas will answer and why; the writer can choose a persona in a menu.

import { mentionsIn } from "./mentions.js";
import { NOWHERE, isInTurn, responders, silence } from "./responders.js";
import { clone, part, setMark, setText } from "../elements.js";
import { around, fill, gettext, pgettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("./responders.js").Place} Place */

/** `usual`: the room's answer policy decides. `none`: no persona answers. Otherwise the id of a persona.
 * @typedef {string} Choice */

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
  /** Whether the writer wants several personas to answer in turn. */
  #inTurn = false;

  /**
   * @param {HTMLElement} composer
   * @param {RoomState} state
   * @param {() => string} text of the composer
   * @param {{unusable: string[], place?: () => Place}} options the personas that the writer may not ask, and
   *   the place of the message that is being written
   */
  constructor(composer, state, text, { unusable, place = () => NOWHERE }) {
    this.composer = composer;
    this.menu = part(composer, "[data-answers-menu]");
    this.opener = part(composer, "[data-answers-opener]");
    this.state = state;
    this.text = text;
    this.unusable = unusable;
    this.place = place;
    this.menu.addEventListener("click", (event) => this.#onClick(event));
    this.turn = part(composer, "[data-in-turn]");
    this.turn.addEventListener("click", () => {
      this.#inTurn = !this.#inTurn;
      this.show();
    });
  }

  /** @returns {boolean} whether several personas answer in turn: the value of `in_turn` in `message.send` */
  get inTurn() {
    return !this.turn.hidden && this.#inTurn;
  }

  /** The message was sent: the next one is as usual. */
  reset() {
    this.#inTurn = false;
    this.show();
  }

  /** @returns {string[] | null} the value of `personas` in `message.send` */
  get personas() {
    return personasToSend(this.#choice);
  }

  /** Shows who will answer. Call this when the text, the room or its personas have changed. */
  show() {
    const { room, personas, members } = this.state;
    const people = [...members.values()].map(({ handle }) => handle);
    const all = [...personas.values()];
    // People who talk with each other miss no persona.
    part(this.composer, "[data-no-persona]").hidden =
      Boolean(room.direct) || all.some(({ enabled }) => enabled);
    const message = {
      mentioned: mentionsIn(this.text(), [...people, ...all.map(({ handle }) => handle)]),
      named: this.personas,
      mentions_first: true,
      in_turn: this.#inTurn,
      place: this.place(),
    };
    const answering = {
      policy: room.answer_policy,
      personas: all.filter(({ id }) => !this.unusable.includes(id)),
      default: room.default_persona,
      muted: room.muted_personas ?? [],
      mode: room.mode ?? "each",
      lead: room.lead ?? null,
    };
    // The choice is for several named personas: without them, it would ask all.
    if (responders({ ...message, in_turn: false }, answering).length < 2) message.in_turn = this.#inTurn = false;
    const answers = responders(message, answering);
    const inTurn = answers.length > 1 && isInTurn(message, answering);
    // In the other modes the room decides.
    this.turn.hidden = answers.length < 2 || answering.mode !== "each";
    this.turn.setAttribute("aria-pressed", String(inTurn));
    if (inTurn) return this.#showTurns(answers);
    if (answers.length) return this.#showNames(answers);
    const reason = silenceWords(silence(message, answering), all.length);
    this.#write(pgettext("nobody", "%(names)s will answer:"), gettext("Nobody"), reason);
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

  /** @param {{persona: string, why: import("./responders.js").Why}[]} answers */
  #showNames(answers) {
    const names = answers.map(({ persona }) => this.state.personas.get(persona)?.name ?? "");
    const { length } = names;
    const more = fill(gettext("%(name)s and %(count)s more"), { name: names[0], count: length - 1 });
    const reason = reasonWords(answers[0].why, names[0]);
    this.#write(gettext("%(names)s will answer:"), length <= 2 ? names.join(", ") : more, reason);
  }

  /** @param {{persona: string, why: import("./responders.js").Why}[]} answers in the order of their turns */
  #showTurns(answers) {
    const [first, second] = answers.map(({ persona }) => this.state.personas.get(persona)?.name ?? "");
    const sentence =
      answers.length === 2 ? gettext("%(name)s, then %(next)s") : gettext("%(name)s, then %(count)s more");
    const names = fill(sentence, { name: first, next: second, count: answers.length - 1 });
    this.#write(gettext("%(names)s will answer:"), names, gettext("in turn"));
  }

  /**
   * Writes the sentence; its names are in bold.
   * @param {string} sentence with the placeholder `names`
   * @param {string} names
   * @param {string} reason
   */
  #write(sentence, names, reason) {
    const [before, after] = around(sentence, names);
    for (const [selector, words] of [
      ["[data-answers-before]", before],
      ["[data-answers]", names],
      ["[data-answers-after]", after],
      ["[data-answers-why]", reason],
    ]) {
      setText(this.opener, selector, words);
    }
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
    this.show();
  }
}

/** The words are those of rooms/pages/answering.py. @param {import("./responders.js").Why} why @param {string} name */
function reasonWords(why, name) {
  const words = {
    named: gettext("you chose"),
    mention: gettext("mentioned"),
    reply: fill(gettext("reply to %(name)s"), { name }),
    thread: gettext("follows this thread"),
    policy: gettext("answers here by default"),
  };
  return words[why];
}

/** @param {import("./responders.js").Silence} why @param {number} personas of the room */
function silenceWords(why, personas) {
  const words = {
    named: gettext("you chose"),
    off: gettext("no persona answers in this room"),
    mention: gettext("only when a persona is named"),
    person: gettext("to a person"),
    absent: personas ? gettext("no persona answers here by default") : gettext("there is no persona in this room"),
  };
  return words[why];
}
