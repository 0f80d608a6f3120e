// @ts-check
// Suggests personas, then people, while a mention is being written.

import { clone, part, setMark, setText } from "../elements.js";
import { matches } from "../member_loader.js";
import { workWords } from "../timeline/message_view.js";
import { nextIndex } from "../../maru/menu.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Member} Member */
/** @typedef {import("../protocol.js").Persona} Persona */

// The signs are those of rooms/markup/mentions.py; the server decides what a mention is.
const TOKEN = /(?<![\p{L}\p{N}_@＠﹫/.])[@＠﹫]([\p{L}\p{M}\p{N}_.-]*)$/u;
const MOST = 8;

/**
 * Returns the unfinished mention that ends at the caret.
 * @param {string} text
 * @param {number} caret
 * @returns {{start: number, words: string} | null}
 */
export function mentionAt(text, caret) {
  const found = TOKEN.exec(text.slice(0, caret));
  return found && { start: found.index, words: found[1].normalize("NFKC").toLowerCase() };
}

/**
 * @template {{name: string, handle: string}} Named
 * @param {Iterable<Named>} all
 * @param {string} words in lower case
 * @returns {Named[]} matches; names and handles that start with the words come first
 */
export function matching(all, words) {
  const fits = [...all].filter((one) => matches(one, words));
  const begins = (/** @type {Named} */ { name, handle }) =>
    [name, handle].some((one) => one.toLowerCase().startsWith(words));
  return [...fits.filter(begins), ...fits.filter((one) => !begins(one))].slice(0, MOST);
}

export class MentionPicker {
  #start = -1;
  #active = 0;

  /**
   * @param {HTMLElement} box
   * @param {HTMLTextAreaElement} field
   * @param {RoomState} state
   * @param {(words: string) => void} find loads more members whose name or handle contains the words
   */
  constructor(box, field, state, find) {
    this.box = box;
    this.field = field;
    this.state = state;
    this.find = find;
    field.setAttribute("aria-autocomplete", "list");
    field.setAttribute("aria-controls", box.id);
    for (const event of ["input", "click"]) field.addEventListener(event, () => this.update());
    field.addEventListener("blur", () => this.close());
    // A press on an item must not take the focus from the field.
    box.addEventListener("pointerdown", (event) => event.preventDefault());
    box.addEventListener("click", (event) => {
      const item = /** @type {Element} */ (event.target).closest("[role=option]");
      if (item instanceof HTMLElement) this.#pick(item);
    });
  }

  get isOpen() {
    return !this.box.hidden;
  }

  /** Opens, updates or closes the list for the text before the caret. */
  update() {
    const { value, selectionStart, selectionEnd } = this.field;
    const token = selectionStart === selectionEnd ? mentionAt(value, selectionStart) : null;
    if (!token) return this.close();
    this.#start = token.start;
    this.#list(token.words);
  }

  /** Updates the list after more members were loaded. */
  refresh() {
    if (document.activeElement === this.field) this.update();
  }

  close() {
    this.box.hidden = true;
    this.field.removeAttribute("aria-activedescendant");
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the picker handled the key */
  onKey(event) {
    if (!this.isOpen) return false;
    const items = this.#items;
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter" || event.key === "Tab") this.#pick(items[this.#active]);
    else if (event.key.startsWith("Arrow") && !event.shiftKey) {
      const to = nextIndex(event.key, this.#active, items.length);
      if (to === null) return false;
      this.#activate(to);
    } else return false;
    return true;
  }

  /** @returns {HTMLElement[]} */
  get #items() {
    return [...this.box.querySelectorAll(/** @type {"div"} */ ("[role=option]"))];
  }

  /** @param {string} words */
  #list(words) {
    this.find(words);
    const personas = matching(this.state.personas.values(), words).map((one) => this.#persona(one));
    const others = [...this.state.members.values()].filter(({ user }) => user !== this.state.me);
    const people = matching(others, words).map((one) => this.#person(one));
    this.#fill("[data-picker-personas]", personas);
    this.#fill("[data-picker-people]", people);
    this.box.hidden = personas.length + people.length === 0;
    if (this.isOpen) this.#activate(0);
    else this.close();
  }

  /** @param {string} group @param {HTMLElement[]} items */
  #fill(group, items) {
    const place = part(this.box, group);
    for (const old of place.querySelectorAll("[role=option]")) old.remove();
    place.append(...items);
    place.hidden = !items.length;
  }

  /** @param {Persona} persona */
  #persona(persona) {
    const item = clone("picker-persona");
    setMark(item, { kind: "persona", wood: "", ...persona });
    setText(item, "[data-name]", persona.name);
    setText(item, "[data-note]", persona.goal || persona.role);
    setText(item, "[data-state-words]", this.#doing(persona));
    item.dataset.handle = persona.handle;
    return item;
  }

  /** @param {Persona} persona @returns {string} */
  #doing({ id, enabled }) {
    if (!enabled) return gettext("Switched off");
    const runs = this.state.openRuns.filter((run) => run.persona === id);
    if (runs.some(({ state }) => state === "running")) return workWords("streaming");
    return runs.length ? gettext("Queued") : "";
  }

  /** @param {Member} member */
  #person({ user, name, handle, wood }) {
    const item = clone("picker-person");
    const mark = { kind: /** @type {const} */ ("user"), id: user, role: "", pigment: "", lattice: "" };
    setMark(item, { ...mark, name, handle, wood });
    setText(item, "[data-name]", name);
    setText(item, "[data-note]", `@${handle}`);
    item.dataset.handle = handle;
    return item;
  }

  /** @param {number} index */
  #activate(index) {
    this.#active = index;
    this.#items.forEach((item, at) => {
      item.id = `${this.box.id}-${at}`;
      item.setAttribute("aria-selected", String(at === index));
      if (at === index) item.scrollIntoView({ block: "nearest" });
    });
    this.field.setAttribute("aria-activedescendant", `${this.box.id}-${index}`);
  }

  /** @param {HTMLElement} item */
  #pick(item) {
    const { value, selectionStart } = this.field;
    const mention = `@${item.dataset.handle} `;
    const rest = value.slice(selectionStart).replace(/^ /, "");
    this.field.value = value.slice(0, this.#start) + mention + rest;
    const caret = this.#start + mention.length;
    this.field.setSelectionRange(caret, caret);
    this.close();
    this.field.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
