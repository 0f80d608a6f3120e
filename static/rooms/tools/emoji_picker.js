// @ts-check
// The picker of all emoji. Its module and its data are loaded when it is opened for the first time; the
// data has the names and the search words of the page's language.

import { part, setText } from "../elements.js";
import { place } from "../../maru/menu.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {HTMLElement & {i18n: object}} Picker of emoji-picker-element */

export class EmojiPicker {
  /** @type {Promise<Picker> | undefined} */
  #picker;
  /** @type {(emoji: string) => void} */
  #onPick = () => {};

  /** @param {HTMLElement} popover @param {(sentence: string) => void} tell */
  constructor(popover, tell) {
    this.popover = popover;
    this.tell = tell;
    // The library throws at Enter if there is nothing to choose: before its handler.
    popover.addEventListener("keydown", (event) => this.#onKey(event), { capture: true });
    popover.addEventListener("emoji-click", (event) => {
      const { unicode } = /** @type {CustomEvent<{unicode?: string}>} */ (event).detail;
      popover.hidePopover();
      if (unicode) this.#onPick(unicode);
    });
  }

  /** @param {HTMLElement} anchor @param {(emoji: string) => void} onPick */
  async open(anchor, onPick) {
    this.#onPick = onPick;
    this.#picker ??= this.#load();
    try {
      const picker = await this.#picker;
      this.popover.showPopover();
      place(this.popover, anchor, "below-end");
      this.#search(picker)?.focus();
    } catch {
      this.#picker = undefined;
      this.tell(gettext("The emoji could not be loaded. Try again."));
    }
  }

  /** @returns {Promise<Picker>} */
  async #load() {
    const { module = "", data = "" } = this.popover.dataset;
    await import(module);
    const picker = /** @type {Picker} */ (document.createElement("emoji-picker"));
    picker.setAttribute("data-source", data);
    picker.setAttribute("locale", document.documentElement.lang);
    picker.i18n = words();
    picker.className = "emoji-picker";
    part(this.popover, "[data-emoji-place]").replaceChildren(picker);
    const root = picker.shadowRoot;
    if (root) new MutationObserver(() => this.#showNone(root)).observe(root, { childList: true, subtree: true });
    return picker;
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const picker = /** @type {Picker | null} */ (this.popover.querySelector("emoji-picker"));
    if (event.key !== "Enter" || !picker?.shadowRoot?.activeElement?.matches("input")) return;
    if (!hasResults(picker.shadowRoot)) event.stopPropagation();
  }

  /** Says that a search has found nothing: the library shows an empty list. @param {ShadowRoot} root */
  #showNone(root) {
    const isSearch = root.querySelector("#search-results") !== null;
    setText(this.popover, "[data-emoji-none]", isSearch && !hasResults(root) ? gettext("No matches.") : "");
  }

  /** @param {Picker} picker @returns {HTMLInputElement | null | undefined} */
  #search(picker) {
    return picker.shadowRoot?.querySelector("input");
  }
}

/** @param {ShadowRoot} root @returns {boolean} */
function hasResults(root) {
  return root.querySelector("#search-results [role=option]") !== null;
}

/** The labels of the picker. */
function words() {
  return {
    categoriesLabel: gettext("Categories"),
    emojiUnsupportedMessage: gettext("This browser does not show colour emoji."),
    favoritesLabel: gettext("Often used"),
    loadingMessage: gettext("Loading"),
    networkErrorMessage: gettext("The emoji could not be loaded. Try again."),
    regionLabel: gettext("Emoji"),
    searchDescription: gettext("Choose a result with the arrow keys and Enter."),
    searchLabel: gettext("Find an emoji"),
    searchResultsLabel: gettext("Results"),
    skinToneDescription: gettext("Choose a skin tone with the arrow keys and Enter."),
    skinToneLabel: gettext("Skin tone (now: {skinTone})"),
    skinTonesLabel: gettext("Skin tones"),
    skinTones: [
      gettext("Default"),
      gettext("Light"),
      gettext("Medium light"),
      gettext("Medium"),
      gettext("Medium dark"),
      gettext("Dark"),
    ],
    categories: {
      custom: gettext("Own"),
      "smileys-emotion": gettext("Smileys and feelings"),
      "people-body": gettext("People and body"),
      "animals-nature": gettext("Animals and nature"),
      "food-drink": gettext("Food and drink"),
      "travel-places": gettext("Travel and places"),
      activities: gettext("Activities"),
      objects: gettext("Objects"),
      symbols: gettext("Symbols"),
      flags: gettext("Flags"),
    },
  };
}
