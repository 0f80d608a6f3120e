// @ts-check
// The popover of the picker of all emoji, which is loaded when it is opened for the first time.

import { Bundle } from "../../maru/on_demand.js";
import { place } from "../../maru/menu.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {import("./emoji_picker.js").Picker} Picker */

/** @type {Bundle<typeof import("./emoji_picker.js")>} */
const emoji = new Bundle("emoji", { hasStyles: true });

export class EmojiPopover {
  /** @type {Promise<Picker> | null} */
  #picker = null;
  /** @type {(emoji: string) => void} */
  #onPick = () => {};

  /** @param {HTMLElement} popover @param {(sentence: string) => void} tell */
  constructor(popover, tell) {
    this.popover = popover;
    this.tell = tell;
  }

  /** @param {HTMLElement} anchor @param {(emoji: string) => void} onPick */
  async open(anchor, onPick) {
    this.#onPick = onPick;
    this.#picker ??= emoji.load().then(({ makePicker }) => makePicker(this.popover, (picked) => this.#onPick(picked)));
    try {
      const picker = await this.#picker;
      this.popover.showPopover();
      place(this.popover, anchor, "below-end");
      picker.shadowRoot?.querySelector("input")?.focus();
    } catch {
      this.#picker = null;
      this.tell(gettext("The emoji could not be loaded. Try again."));
    }
  }
}
