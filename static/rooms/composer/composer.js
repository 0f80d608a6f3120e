// @ts-check
// The composer. Its text is always stored: as a draft, as an entry of the outbox, or as a message.

import { AnswersMenu } from "./answers_menu.js";
import { setSentence } from "../acting/sentences.js";
import { part } from "../elements.js";
import { MentionPicker } from "./mention_picker.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */

const LONGEST = 16_000;
const TYPING_MS = 3_000;

export class Composer {
  #typed = 0;
  /** The run that the text steers. @type {string | null} */
  #steered = null;

  /**
   * @param {HTMLFormElement} form
   * @param {RoomState} state
   * @param {{
   *   send: (text: string, personas: string[] | null, inTurn: boolean) => void,
   *   steer: (run: string, text: string) => Promise<string>,
   *   typing: () => void,
   *   findMembers: (words: string) => void,
   *   unusable: string[],
   *   place?: () => import("./responders.js").Place,
   *   draft: {read: () => string, keep: (text: string) => void},
   *   editLast?: () => boolean,
   *   pickEmoji: (anchor: HTMLElement, onPick: (emoji: string) => void) => void,
   *   isMain?: boolean,
   *   signal: AbortSignal,
   * }} callbacks `steer` sends a line to a running answer, and returns why it was refused, or ""; `editLast` opens the editor of the reader's last message, and returns whether there is one;
   *   `isMain`: keys that are pressed while no element has the focus are for this composer
   */
  constructor(
    form,
    state,
    { send, steer, typing, findMembers, unusable, place, draft, editLast = () => false, pickEmoji, isMain = true, signal },
  ) {
    this.form = form;
    this.send = send;
    this.steer = steer;
    this.typing = typing;
    this.draft = draft;
    this.editLast = editLast;
    this.field = /** @type {HTMLTextAreaElement} */ (part(form, "textarea"));
    this.picker = new MentionPicker(part(form, "[data-picker]"), this.field, state, findMembers);
    this.answers = new AnswersMenu(form, state, () => this.field.value, { unusable, place });
    this.field.value ||= draft.read();
    this.field.addEventListener("input", () => this.#onInput());
    this.field.addEventListener("keydown", (event) => this.#onKey(event));
    form.addEventListener("submit", (event) => this.#onSubmit(event));
    // A click anywhere in the composer focuses the field.
    form.addEventListener("click", (event) => event.target === form && this.field.focus());
    part(form, "[data-steers-end]").addEventListener("click", () => {
      this.endSteering();
      this.field.focus();
    });
    this.#startAtSign();
    this.#startEmoji(pickEmoji);
    if (isMain) document.addEventListener("keydown", (event) => this.#onKeyElsewhere(event), { signal });
    this.#grow();
    this.answers.list();
  }

  /** Shows another draft. @param {{read: () => string, keep: (text: string) => void}} draft */
  open(draft) {
    this.draft = draft;
    this.field.value = draft.read();
    this.#refuse("");
    this.#grow();
    this.answers.show();
  }

  /** Inserts an unsent text before the current text. @param {string} text */
  restore(text) {
    this.field.value = [text, this.field.value].filter(Boolean).join("\n\n");
    this.field.focus();
    this.#onInput();
  }

  /** Inserts a quote after the current text, and places the caret below it. @param {string} quote */
  quote(quote) {
    const before = this.field.value.trimEnd();
    this.field.value = `${before ? `${before}\n\n` : ""}${quote}\n\n`;
    this.field.focus();
    this.field.setSelectionRange(this.field.value.length, this.field.value.length);
    this.#onInput();
  }

  /** The text steers a running answer instead of being a message. @param {string} run @param {string} name of the persona */
  startSteering(run, name) {
    this.#steered = run;
    this.#showSteering(name);
    this.field.focus();
  }

  /** The text is a message again. @param {string | null} [run] only if it steers this run */
  endSteering(run = this.#steered) {
    if (this.#steered === null || this.#steered !== run) return;
    this.#steered = null;
    this.#showSteering("");
    this.answers.show();
  }

  /** @param {string} name "" for a message */
  #showSteering(name) {
    this.form.toggleAttribute("data-steering", Boolean(name));
    part(this.form, "[data-steers]").hidden = !name;
    if (name) setSentence(part(this.form, "[data-steers-words]"), gettext("Steers %(name)s"), { name });
  }

  /** @param {string} room */
  rename(room) {
    this.field.placeholder = room;
    this.field.setAttribute("aria-label", room);
  }

  #onInput() {
    this.draft.keep(this.field.value);
    this.#refuse("");
    this.#grow();
    this.answers.show();
    const now = performance.now();
    if (!this.field.value.trim() || (this.#typed && now - this.#typed < TYPING_MS)) return;
    this.#typed = now;
    this.typing();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    // Enter during an IME composition (Korean) must not send. Safari ends the composition before it
    // dispatches keydown, so that `isComposing` is false there and only keyCode 229 shows it.
    if (event.isComposing || event.keyCode === 229) return;
    if (this.picker.onKey(event)) return event.preventDefault();
    if (event.key === "Escape" && this.#steered !== null) {
      event.preventDefault(); // and does not close the thread around the composer
      return this.endSteering();
    }
    if (event.key === "ArrowUp" && !this.field.value && this.editLast()) return event.preventDefault();
    if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  /**
   * Focuses the composer for a key that is pressed while no element has the focus, so that the field receives the key.
   * @param {KeyboardEvent} event
   */
  #onKeyElsewhere(event) {
    const writes = (event.key.length === 1 && event.key !== " ") || event.keyCode === 229;
    if (!writes || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.activeElement === document.body) this.field.focus();
  }

  /** @param {SubmitEvent} event */
  #onSubmit(event) {
    event.preventDefault();
    const text = this.field.value.replace(/^\s*\n|\s+$/gu, "");
    this.field.focus();
    if (!text) return;
    if (Array.from(text).length > LONGEST) {
      const words = gettext("The message is longer than 16,000 characters. Shorten it or send two.");
      return this.#refuse(words);
    }
    if (this.#steered !== null) return void this.#steer(this.#steered, text);
    this.send(text, this.answers.personas, this.answers.inTurn);
    this.answers.reset();
    this.#clear();
  }

  /** Sends a line to a running answer; a refused line stays in the field. @param {string} run @param {string} text */
  async #steer(run, text) {
    const refusal = await this.steer(run, text);
    if (refusal) return this.#refuse(refusal);
    this.endSteering(run);
    this.#clear();
  }

  #clear() {
    this.field.value = "";
    this.#typed = 0;
    this.picker.close();
    this.draft.keep("");
    this.#grow();
    this.answers.show();
  }

  /** @param {string} words the reason why the text was not sent; "" hides the reason */
  #refuse(words) {
    part(this.form, "[data-refusal]").hidden = !words;
    part(this.form, "[data-refusal-words]").textContent = words;
    this.field.toggleAttribute("aria-invalid", Boolean(words));
  }

  #startAtSign() {
    const button = part(this.form, "[data-at-sign]");
    button.hidden = false;
    button.addEventListener("click", () => {
      const { selectionStart: at, value } = this.field;
      const sign = at && !/\s/u.test(value[at - 1]) ? " @" : "@";
      this.field.focus();
      this.field.setRangeText(sign, at, this.field.selectionEnd, "end");
      this.field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  /** @param {(anchor: HTMLElement, onPick: (emoji: string) => void) => void} pickEmoji */
  #startEmoji(pickEmoji) {
    const button = part(this.form, "[data-emoji-button]");
    button.hidden = false;
    button.addEventListener("click", () =>
      pickEmoji(button, (emoji) => {
        this.field.focus();
        this.field.setRangeText(emoji, this.field.selectionStart, this.field.selectionEnd, "end");
        this.field.dispatchEvent(new Event("input", { bubbles: true }));
      }),
    );
  }

  /** Sizes the field to its content in browsers without `field-sizing`; CSS limits it to 40 %. */
  #grow() {
    if (CSS.supports("field-sizing", "content")) return;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }
}
