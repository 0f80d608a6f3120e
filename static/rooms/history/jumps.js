// @ts-check
// Jumps in the history of a room: to a date, and to the first unread message if it is not loaded.

import { part } from "../elements.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {import("../room.js").OpenRoom} OpenRoom */
/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("./history.js").Place} Place */

/** @param {OpenRoom} room @param {(sentence: string) => void} tell shows and announces a sentence */
export function startJumps(room, tell) {
  const form = /** @type {HTMLFormElement} */ (part(room.screen.main, "[data-jump-date]"));
  const button = part(room.page, "[data-first-unread]");
  const readSeq = room.readPosition.sent;

  form.addEventListener("submit", async (event) => {
    event.preventDefault(); // without scripts the form loads the page of that date
    const field = /** @type {HTMLInputElement} */ (part(form, "input"));
    const [year, month, day] = field.value.split("-").map(Number);
    const moment = new Date(year, month - 1, day);
    part(room.screen.main, "#room-menu").hidePopover();
    await jump({ on: moment.toISOString() }, ({ created_at: at }) => new Date(at) >= moment);
  });

  const [first] = room.state.messages.values();
  button.hidden = room.state.messagesComplete || !readSeq || !first || first.seq <= readSeq;
  button.addEventListener("click", async () => {
    button.hidden = true;
    const isUnread = (/** @type {Message} */ { seq }) => seq > readSeq;
    const message = await jump({ at: readSeq + 1 }, isUnread);
    if (message) room.scroll.keep(() => room.view.moveUnreadLine(message.id));
  });

  /** @param {Place} where @param {(message: Message) => boolean} isWanted @returns {Promise<Message | null>} */
  async function jump(where, isWanted) {
    if (!(await room.history.jump(where))) {
      tell(gettext("The messages could not be loaded. Try again."));
      return null;
    }
    const messages = [...room.state.messages.values()];
    const message = messages.find(isWanted) ?? messages.at(-1);
    if (message) await room.showMessage(message.id);
    return message ?? null;
  }
}
