// @ts-check
// Links to messages of the open room: a loaded message is shown without loading a page.

import { part } from "../elements.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */

/** @param {RoomState} state */
export function startMessageLinks(state) {
  document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest("a[href]:not([data-version-before], [data-version-after])");
    if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    const article = loadedMessage(link, state.room.id);
    if (!article) return;
    event.preventDefault();
    closeCoveringPanel(link);
    location.hash = article.id; // CSS marks the target
    article.scrollIntoView({ block: "center" });
    article.focus({ preventScroll: true });
  });
}

/** @param {HTMLAnchorElement} link @param {string} room @returns {HTMLElement | null} */
function loadedMessage(link, room) {
  if (link.origin !== location.origin) return null;
  const [, id] = link.pathname.match(/^\/rooms\/[^/]+\/messages\/([^/]+)\/$/u) ?? [];
  return id && link.pathname.startsWith(`/rooms/${room}/`) ? document.getElementById(`message-${id}`) : null;
}

/** Closes the panel if it covers the timeline on a narrow screen. @param {HTMLAnchorElement} link in the panel */
function closeCoveringPanel(link) {
  const covers = !matchMedia("(min-width: 1200px)").matches && link.closest("#panel");
  if (covers) part(document, "[data-panel-close]").click();
}
