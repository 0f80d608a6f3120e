// @ts-check
// The buttons Stop, Cancel, Retry, Answer again (also of a completed answer) and Continue: they send a request, and
// events show the result.

import { callApi } from "../connection/api.js";
import { showStoppable, showStopping } from "./message_view.js";

const BUTTONS = "[data-stop], [data-again], [data-regenerate], [data-continue]";

/** @typedef {import("./timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Command} Command */

/**
 * @param {HTMLElement} timeline
 * @param {TimelineView} view
 * @param {{request: (command: Command) => Promise<any>, showError: (error: unknown) => void}} callbacks
 */
export function startAnswerButtons(timeline, view, { request, showError }) {
  timeline.addEventListener("click", async (event) => {
    const button = /** @type {Element} */ (event.target).closest(BUTTONS);
    const article = button?.closest(".message");
    if (!(article instanceof HTMLElement) || !(button instanceof HTMLButtonElement)) return;
    event.preventDefault(); // without scripts the button submits a form
    if (button.matches("[data-stop]")) await stop(article);
    else if (button.matches("[data-continue]")) await goOn(article, button);
    else await retry(article, button);
  });

  /** @param {HTMLElement} article */
  async function stop(article) {
    showStopping(article);
    try {
      await request({ type: "run.cancel", run: article.dataset.runId });
    } catch (error) {
      const { state } = view;
      showStoppable(article, state.rules.states[state.answerState(view.messageOf(article))]);
      showError(error);
    }
  }

  /** @param {HTMLElement} article @param {HTMLButtonElement} button */
  async function goOn(article, button) {
    const message = view.messageOf(article);
    if (!message) return;
    button.disabled = true;
    try {
      await callApi("POST", `/messages/${message.id}/continue`);
    } catch (error) {
      showError(error);
    } finally {
      button.disabled = false;
    }
  }

  /** @param {HTMLElement} article @param {HTMLButtonElement} button */
  async function retry(article, button) {
    const hadFocus = button === document.activeElement;
    button.disabled = true;
    try {
      const { run } = await request({ type: "run.retry", run: article.dataset.runId });
      // The button is hidden now: move the focus to the new answer.
      if (hadFocus) (view.answer(run) ?? article).focus();
    } catch (error) {
      showError(error);
    } finally {
      button.disabled = false;
    }
  }
}
