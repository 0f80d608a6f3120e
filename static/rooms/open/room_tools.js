// @ts-check
// Connects the tools of messages and of the composer with an open room.

import { callApi } from "../connection/api.js";
import { part } from "../elements.js";
import { startAnswerButtons } from "../timeline/answer_buttons.js";
import { startCopyButtons } from "../timeline/copy_buttons.js";
import { startMessageTools } from "../timeline/message_tools.js";
import { startSteering } from "../timeline/steer_button.js";
import { EmojiPopover } from "../tools/emoji_popover.js";
import { startMessageLinks } from "../tools/message_links.js";
import { MessageMenu } from "../tools/message_menu.js";
import { startVersions } from "../tools/versions.js";
import { startVotes } from "../tools/votes.js";
import { setRoomCounts } from "../../maru/sidebar.js";

/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../room.js").OpenRoom} OpenRoom */

/**
 * @param {OpenRoom} room
 * @param {{tell: (sentence: string) => void, apply: (frame: import("../protocol.js").Frame) => void, signal: AbortSignal}} options
 *   `tell` shows and announces a sentence
 */
export function startRoomTools(room, { tell, apply, signal }) {
  const { timeline, view, page, shared } = room;
  const showError = (/** @type {unknown} */ error) => room.announcer.say(room.statusLine.commandFailed(error));
  const actions = { request: (/** @type {Command} */ command) => shared.socket.request(command), showError };
  const emoji = new EmojiPopover(part(page, "[data-emoji-picker]"), tell);
  const pickEmoji = (/** @type {HTMLElement} */ anchor, /** @type {(emoji: string) => void} */ onPick) =>
    void emoji.open(anchor, onPick);
  startAnswerButtons(timeline, view, actions);
  startCopyButtons(timeline, (article) => view.shownOf(article)?.text ?? "");
  startMessageLinks(room, signal);
  startVersions(timeline, view, showError);
  const menu = new MessageMenu(part(page, "[data-message-menu]"), { ...actions, tell });
  menu.serve(view, (message) => markUnread(room, message));
  const quote = (/** @type {string} */ text) => room.composer.quote(text);
  const { editLast } = startMessageTools(timeline, view, { ...actions, quote, pickEmoji });
  const votes = startVotes(view, { apply, showError });
  void votes.load();
  startSteering(view, (run, name) => room.composer.startSteering(run.id, name));
  view.acting.begin({ ...actions, apply, tell });
  return { editLast, menu, pickEmoji, votes };
}

/** Moves the read position before a message. @param {OpenRoom} room @param {import("../protocol.js").Message} message */
async function markUnread(room, { id, seq }) {
  room.readPosition.hold();
  const { unread, mentions } = await moveReadPosition(room, seq - 1);
  room.scroll.keep(() => room.view.moveUnreadLine(id));
  setRoomCounts(room.id, { unread, mentions });
}

/** @param {OpenRoom} room @param {number} seq @returns {Promise<{unread: number, mentions: number}>} */
async function moveReadPosition(room, seq) {
  try {
    return await callApi("PUT", `/rooms/${room.id}/read`, { seq });
  } catch (error) {
    room.readPosition.release(); // nothing was marked
    throw error;
  }
}
