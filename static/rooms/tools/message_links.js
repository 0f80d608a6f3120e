// @ts-check
// Links to messages of the open room: a loaded message is shown without loading a page.

import { part } from "../elements.js";

/** @typedef {import("../room.js").OpenRoom} OpenRoom */

/** @param {OpenRoom} room @param {AbortSignal} signal aborted when the room is closed */
export function startMessageLinks(room, signal) {
  const onClick = async (/** @type {MouseEvent} */ event) => {
    const link = /** @type {Element} */ (event.target).closest("a[href]:not([data-version-before], [data-version-after])");
    if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const id = messageOf(link, room.id);
    if (!id || !room.timeline.isConnected) return;
    event.preventDefault();
    const reply = room.state.messages.has(id) ? null : document.getElementById(`thread-message-${id}`);
    if (reply) return reply.focus();
    closeCoveringPanel(link);
    if (await room.showMessage(id)) location.hash = `message-${id}`; // CSS marks the target
    else location.assign(link.href);
  };
  document.addEventListener("click", onClick, { signal });
}

/** @param {HTMLAnchorElement} link @param {string} room @returns {string | null} the id of a message of the room */
function messageOf(link, room) {
  const [, id] = link.pathname.match(/^\/rooms\/[^/]+\/messages\/([^/]+)\/$/u) ?? [];
  return id && link.origin === location.origin && link.pathname.startsWith(`/rooms/${room}/`) ? id : null;
}

/** Closes the panel or the thread of a link if it covers the timeline on a narrow screen. @param {HTMLAnchorElement} link */
function closeCoveringPanel(link) {
  if (matchMedia("(min-width: 1200px)").matches) return;
  if (link.closest("#panel")) part(document, "[data-panel-close]").click();
  if (link.closest("#thread")) part(document, "[data-thread-close]").click();
}
