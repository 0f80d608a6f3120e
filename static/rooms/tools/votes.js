// @ts-check
// Votes on answers. Events have the numbers of votes only, because they are the same for all readers; the
// reader's own votes are requested when an answer of the room has votes.

import { callApi } from "../connection/api.js";
import { clone, part } from "../elements.js";

/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Message} Message */

const OWN_VOTES = 200;

/**
 * @param {TimelineView} view
 * @param {{apply: (frame: Frame) => void, showError: (error: unknown) => void}} callbacks
 * @returns {{load: () => Promise<void>}} `load` requests the reader's votes if they are needed and not known
 */
export function startVotes(view, { apply, showError }) {
  const { timeline, state } = view;
  let isLoaded = false;

  timeline.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-vote], [data-vote-close]");
    const article = button?.closest(".message");
    if (!(button instanceof HTMLElement) || !(article instanceof HTMLElement)) return;
    if (button.dataset.vote) void press(article, button);
    else closeNote(article);
  });
  timeline.addEventListener("keydown", (event) => {
    const article = /** @type {Element} */ (event.target).closest(".message:has([data-vote-note])");
    if (event.key !== "Escape" || event.isComposing || !(article instanceof HTMLElement)) return;
    event.preventDefault(); // and does not close the thread around the answer
    closeNote(article);
  });

  async function load() {
    if (isLoaded || ![...state.messages.values()].some(({ votes }) => votes)) return;
    isLoaded = true;
    try {
      const found = await callApi("GET", `/rooms/${state.room.id}/votes?limit=${OWN_VOTES}`);
      apply({ type: "votes.loaded", votes: found.items });
    } catch {
      isLoaded = false; // requested again with the next change of a message
    }
  }

  /** A second press takes the vote back. @param {HTMLElement} article @param {HTMLElement} button */
  async function press(article, button) {
    const value = Number(button.dataset.vote);
    const message = view.messageOf(article);
    if (!message) return;
    closeNote(article);
    const isNew = state.ownVotes.get(message.id) !== value;
    if (!(await send(message, isNew ? value : 0, "")) || !isNew) return;
    const form = /** @type {HTMLFormElement} */ (clone("vote-note"));
    const field = /** @type {HTMLInputElement} */ (part(form, "input"));
    view.keepPlace(() => part(article, "[data-foot]").after(form));
    if (button === document.activeElement) field.focus(); // else the reader is elsewhere already
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (await send(message, value, field.value)) closeNote(article);
    });
  }

  /** @param {Message} message @param {number} value @param {string} note @returns {Promise<boolean>} */
  async function send({ id }, value, note) {
    try {
      await callApi("PUT", `/messages/${id}/vote`, { value, note });
    } catch (error) {
      showError(error);
      return false;
    }
    apply({ type: "votes.loaded", votes: [{ message: id, value }] });
    return true;
  }

  return { load };
}

/** @param {HTMLElement} article */
function closeNote(article) {
  const form = article.querySelector("[data-vote-note]");
  const hadFocus = form?.contains(document.activeElement);
  form?.remove();
  if (hadFocus) part(article, "[data-vote]").focus();
}
