// @ts-check
// Switches between the versions of an answer. The last version is in the state of the room; the others
// are requested when they are shown. A change of the message shows its last version again.

import { callApi } from "../connection/api.js";

/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Message} Message */

/** @param {HTMLElement} timeline @param {TimelineView} view @param {(error: unknown) => void} showError */
export function startVersions(timeline, view, showError) {
  timeline.addEventListener("click", async (event) => {
    const link = /** @type {Element} */ (event.target).closest("[data-version-before], [data-version-after]");
    const article = link?.closest(".message");
    if (!(link instanceof HTMLAnchorElement) || !(article instanceof HTMLElement)) return;
    const id = link.href.match(/messages\/([^/]+)\/$/u)?.[1];
    if (!id || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    try {
      const current = view.messageOf(article);
      const message = current?.id === id ? current : await callApi("GET", `/messages/${id}`);
      if (current && view.messageOf(article)?.id === current.id) show(article, message);
    } catch (error) {
      showError(error);
    }
  });

  /** @param {HTMLElement} article @param {Message} message */
  function show(article, message) {
    const box = timeline.closest("[data-scroll]");
    const top = article.getBoundingClientRect().top;
    view.showVersion(article, message);
    if (box) box.scrollTop += article.getBoundingClientRect().top - top;
  }
}
