// @ts-check
// The tools of a message: react, edit, delete. They send a command, and events show the result. Only the message
// under the pointer and the tab stop of the timeline have tools, because of the number of elements.

import { clone, part } from "../elements.js";
import { quoteOf } from "../tools/quote.js";

/** @typedef {import("./timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {{
 *   request: (command: Command) => Promise<any>,
 *   showError: (error: unknown) => void,
 *   quote: (text: string) => void,
 *   pickEmoji: (anchor: HTMLElement, onPick: (emoji: string) => void) => void,
 * }} Callbacks */

const BUTTONS = "[data-edit], [data-delete], [data-react], [data-emoji], [data-more-emoji], [data-quote]";

/**
 * @param {HTMLElement} timeline
 * @param {TimelineView} view
 * @param {Callbacks} callbacks
 * @returns {{editLast: () => boolean}} `editLast` opens the editor of the reader's last message, and returns
 *   false if there is none
 */
export function startMessageTools(timeline, view, { request, showError, quote, pickEmoji }) {
  timeline.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest(BUTTONS);
    const article = button?.closest(".message");
    if (!(article instanceof HTMLElement) || !(button instanceof HTMLButtonElement)) return;
    if (button.matches("[data-edit]")) edit(article);
    else if (button.matches("[data-delete]")) void remove(article, button);
    else if (button.matches("[data-react]")) toggleChoice(article);
    else if (button.matches("[data-quote]")) quoteIn(article);
    else if (button.matches("[data-more-emoji]")) chooseEmoji(article);
    else void react(article, button.dataset.emoji ?? "");
  });
  timeline.addEventListener("mouseover", ({ target }) => {
    const article = /** @type {Element} */ (target).closest(".message");
    if (article instanceof HTMLElement) view.addTools(article);
  });
  timeline.addEventListener("keydown", (event) => {
    const article = /** @type {Element} */ (event.target).closest(".message");
    if (event.key !== "Escape" || event.isComposing || !(article instanceof HTMLElement)) return;
    const isChoice = closeChoice(article);
    if (!isChoice && !closeEditor(article)) return;
    event.preventDefault(); // and does not close the thread around the message
    if (!isChoice) article.focus();
  });
  timeline.addEventListener("focusout", ({ target, relatedTarget }) => {
    const article = /** @type {Element} */ (target).closest(".message");
    if (!(article instanceof HTMLElement) || article.contains(/** @type {Node | null} */ (relatedTarget))) return;
    closeChoice(article);
    resetDelete(article);
  });

  return {
    editLast() {
      const mine = view.articles.findLast((article) => article.dataset.may?.split(" ").includes("edit"));
      if (mine) edit(mine);
      return mine !== undefined;
    },
  };

  /** @param {HTMLElement} article */
  function chooseEmoji(article) {
    closeChoice(article); // the focus returns to the button that opened the choice
    pickEmoji(part(article, "[data-react]"), (emoji) => void react(article, emoji));
  }

  /** @param {HTMLElement} article */
  function quoteIn(article) {
    const message = view.shownOf(article);
    if (message) quote(quoteOf(part(article, "[data-body]"), message.text));
  }

  /** @param {HTMLElement} article @param {string} emoji */
  async function react(article, emoji) {
    const message = view.messageOf(article);
    if (!message) return;
    const on = !message.reactions[emoji]?.includes(view.state.me);
    closeChoice(article);
    await attempt({ type: "message.react", message: message.id, emoji, on });
  }

  /** The first press shows a confirmation, the second press deletes the message. @param {HTMLElement} article @param {HTMLButtonElement} button */
  async function remove(article, button) {
    const message = view.messageOf(article);
    if (!message) return;
    if (!button.dataset.sure) {
      button.dataset.sure = "asked";
      part(button, "[data-sure-words]").hidden = false;
      return;
    }
    article.focus(); // the button is removed with the message
    resetDelete(article);
    await attempt({ type: "message.delete", message: message.id });
  }

  /** @param {HTMLElement} article */
  function edit(article) {
    const message = view.messageOf(article);
    if (!message || article.querySelector("[data-editor]")) return;
    const form = /** @type {HTMLFormElement} */ (clone("editor"));
    const field = /** @type {HTMLTextAreaElement} */ (part(form, "textarea"));
    field.value = message.text;
    part(article, "[data-body]").after(form);
    article.dataset.editing = "yes";
    field.focus();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void save(article, message.id, field.value);
    });
    part(form, "[data-cancel]").addEventListener("click", () => {
      closeEditor(article);
      article.focus();
    });
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return;
      if (event.key !== "Enter" || event.shiftKey || event.altKey) return;
      event.preventDefault();
      form.requestSubmit();
    });
  }

  /** Saves an edit; if the server refuses it, the text stays in the editor. @param {HTMLElement} article @param {string} message @param {string} text */
  async function save(article, message, text) {
    const clean = text.replace(/^\s*\n|\s+$/gu, "");
    if (!clean || !(await attempt({ type: "message.edit", message, text: clean }))) return;
    closeEditor(article);
    article.focus();
  }

  /** @param {Command} command @returns {Promise<boolean>} whether the command succeeded */
  async function attempt(command) {
    try {
      await request(command);
      return true;
    } catch (error) {
      showError(error);
      return false;
    }
  }
}

/** @param {HTMLElement} article */
function toggleChoice(article) {
  if (closeChoice(article)) return;
  const button = part(article, "[data-react]");
  button.setAttribute("aria-expanded", "true");
  const choice = clone("reaction-choice");
  part(article, ".message-tools").prepend(choice);
  part(choice, "button").focus();
}

/** @param {HTMLElement} article @returns {boolean} whether a choice was open */
function closeChoice(article) {
  const choice = article.querySelector("[data-choice]");
  if (!choice) return false;
  const button = part(article, "[data-react]");
  button.setAttribute("aria-expanded", "false");
  // Move the focus before the removal: removing a focused element fires focusout, which calls this function again.
  if (choice.contains(document.activeElement)) button.focus();
  choice.remove();
  return true;
}

/** @param {HTMLElement} article @returns {boolean} whether an editor was open */
function closeEditor(article) {
  const form = article.querySelector("[data-editor]");
  delete article.dataset.editing;
  form?.remove();
  return form !== null;
}

/** @param {HTMLElement} article */
function resetDelete(article) {
  const button = article.querySelector("[data-delete]");
  if (!(button instanceof HTMLElement)) return;
  delete button.dataset.sure;
  part(button, "[data-sure-words]").hidden = true;
}
