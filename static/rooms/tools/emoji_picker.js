// @ts-check
// The picker of all emoji: the entry of the bundle `emoji`. The library and its data are files of their own; the data has
// the names and the search words of the page's language.

import { part, setText } from "../elements.js";
import { load } from "../../maru/on_demand.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {HTMLElement & {i18n: object}} Picker of emoji-picker-element */

/**
 * Makes the picker inside its popover.
 * @param {HTMLElement} popover @param {(emoji: string) => void} onPick
 * @returns {Promise<Picker>} rejected if the library could not be loaded
 */
export async function makePicker(popover, onPick) {
  const { module = "", data = "" } = popover.dataset;
  await load(module);
  const picker = /** @type {Picker} */ (document.createElement("emoji-picker"));
  picker.setAttribute("data-source", data);
  picker.setAttribute("locale", document.documentElement.lang);
  picker.i18n = words();
  picker.className = "emoji-picker";
  part(popover, "[data-emoji-place]").replaceChildren(picker);
  const root = picker.shadowRoot;
  if (root) new MutationObserver(() => showNone(popover, root)).observe(root, { childList: true, subtree: true });
  // The library throws at Enter if there is nothing to choose: before its handler.
  popover.addEventListener("keydown", (event) => onKey(event, picker), { capture: true });
  popover.addEventListener("emoji-click", (event) => {
    const { unicode } = /** @type {CustomEvent<{unicode?: string}>} */ (event).detail;
    popover.hidePopover();
    if (unicode) onPick(unicode);
  });
  return picker;
}

/** @param {KeyboardEvent} event @param {Picker} picker */
function onKey(event, { shadowRoot: root }) {
  if (event.key !== "Enter" || !root?.activeElement?.matches("input")) return;
  if (!hasResults(root)) event.stopPropagation();
}

/** Says that a search has found nothing: the library shows an empty list. @param {HTMLElement} popover @param {ShadowRoot} root */
function showNone(popover, root) {
  const isSearch = root.querySelector("#search-results") !== null;
  setText(popover, "[data-emoji-none]", isSearch && !hasResults(root) ? gettext("No matches.") : "");
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
