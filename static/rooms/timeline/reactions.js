// @ts-check
// The reactions under a message: a button for each emoji, pressed if the reader has reacted with it.

import { clone, part, setText } from "../elements.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Message} Message */

/** Keeps existing buttons, so that a focused button keeps the focus. @param {HTMLElement} article
 * @param {Message} message @param {RoomState} state */
export function setReactions(article, message, state) {
  const row = part(article, "[data-reactions]");
  const known = new Map(pills(row).map((pill) => [pill.dataset.emoji, pill]));
  for (const [emoji, users] of Object.entries(message.reactions)) {
    const pill = known.get(emoji) ?? makePill(row, emoji);
    known.delete(emoji);
    pill.setAttribute("aria-pressed", String(users.includes(state.me)));
    pill.title = users.map((user) => state.members.get(user)?.name).filter(Boolean).join(", ");
    pill.disabled = !state.mayReact(message);
    setText(pill, "[data-count]", String(users.length));
  }
  for (const pill of known.values()) remove(pill, article);
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
