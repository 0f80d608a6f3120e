// @ts-check
// The reactions under a message: a button for each emoji, pressed if the reader has reacted with it.

import { clone, part, setText } from "../elements.js";
import { fill, gettext, ngettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Message} Message */

/** The maximum number of names in the tooltip of a reaction. */
const NAMES = 20;

/** Keeps existing buttons, so that a focused button keeps the focus. @param {HTMLElement} article
 * @param {Message} message @param {RoomState} state */
export function setReactions(article, message, state) {
  const row = part(article, "[data-reactions]");
  const known = new Map(pills(row).map((pill) => [pill.dataset.emoji, pill]));
  for (const [emoji, users] of Object.entries(message.reactions)) {
    const pill = known.get(emoji) ?? makePill(row, emoji);
    known.delete(emoji);
    pill.setAttribute("aria-pressed", String(users.includes(state.me)));
    setNames(pill, emoji, users, state);
    pill.disabled = !state.mayReact(message);
    setText(pill, "[data-count]", String(users.length));
  }
  for (const pill of known.values()) remove(pill, article);
}

/**
 * Says who has reacted, in the tooltip and to screen readers.
 * @param {HTMLElement} pill @param {string} emoji @param {string[]} users @param {RoomState} state
 */
function setNames(pill, emoji, users, state) {
  const known = users.map((user) => state.members.get(user)?.name ?? "").filter(Boolean);
  const shown = known.slice(0, NAMES).join(", ");
  const rest = users.length - Math.min(known.length, NAMES);
  const more = ngettext("%(names)s and %(count)s more", "%(names)s and %(count)s more", rest);
  const names = rest && shown ? fill(more, { names: shown, count: rest }) : shown;
  pill.title = names;
  const words = fill(gettext("%(emoji)s %(count)s: %(names)s"), { emoji, count: users.length, names });
  if (names) pill.setAttribute("aria-label", words);
  else pill.removeAttribute("aria-label");
}

/** @param {HTMLElement} row @returns {HTMLButtonElement[]} */
function pills(row) {
  return [...row.querySelectorAll(/** @type {"button"} */ ("[data-emoji]"))];
}

/** @param {HTMLElement} row @param {string} emoji */
function makePill(row, emoji) {
  const pill = /** @type {HTMLButtonElement} */ (clone("reaction"));
  pill.dataset.emoji = emoji;
  setText(pill, "[data-picture]", emoji);
  row.append(pill);
  return pill;
}

/** @param {HTMLElement} pill @param {HTMLElement} article gets the focus if the removed button had it */
function remove(pill, article) {
  const hadFocus = pill === document.activeElement;
  pill.remove();
  if (hadFocus) article.focus();
}
