// @ts-check
// Stop, Cancel, Retry and Answer again: they act at once, and the room says what came of it.

import { showStoppable, showStopping } from "./message_view.js";

/** @typedef {import("./timeline_view.js").View} View */
/** @typedef {import("../protocol.js").Command} Command */

/**
 * @param {HTMLElement} timeline
 * @param {View} view
 * @param {{request: (command: Command) => Promise<any>, complain: (error: unknown) => void}} ways
 */
export function startAnswerButtons(timeline, view, { request, complain }) {
  timeline.addEventListener("click", async (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-stop], [data-again]");
    const article = button?.closest(".message");
    if (!(article instanceof HTMLElement) || !(button instanceof HTMLButtonElement)) return;
    event.preventDefault(); // without a script it sends a form
    if (button.matches("[data-stop]")) await stop(article);
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
      complain(error);
    }
  }

  /** @param {HTMLElement} article @param {HTMLButtonElement} button */
  async function retry(article, button) {
    const hadFocus = button === document.activeElement;
    button.disabled = true;
    try {
      const { run } = await request({ type: "run.retry", run: article.dataset.runId });
      // The button is gone now: the focus goes on to the answer that it has asked for.
      if (hadFocus) (view.answer(run) ?? article).focus();
    } catch (error) {
      complain(error);
    } finally {
      button.disabled = false;
    }
  }
}
