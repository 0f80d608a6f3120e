// @ts-check
// Switches between the versions of an answer. The last version is in the state of the room; the others
// are requested when they are shown. A change of the message shows its last version again.

import { callApi } from "../connection/api.js";
import { setVersions, setWhole } from "../timeline/message_view.js";

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
      // The state lacks the HTML of messages that the server has rendered into the page.
      const message = current?.id === id && current.html ? current : await callApi("GET", `/messages/${id}`);
      if (current && view.messageOf(article)?.id === current.id) show(article, message, current);
    } catch (error) {
      showError(error);
    }
  });

  /** @param {HTMLElement} article @param {Message} message @param {Message} current the last version */
  function show(article, message, current) {
    const box = timeline.closest("[data-scroll]");
    const top = article.getBoundingClientRect().top;
    setWhole(article, message, view.handle);
    setVersions(article, message, current.answer_version);
    if (box) box.scrollTop += article.getBoundingClientRect().top - top;
  }
}
