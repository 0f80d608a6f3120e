// @ts-check
// Buttons that copy the source of a message, or a code block.

import { icon } from "../../maru/avatars.js";

const DONE_MS = 1_500;

/**
 * @param {HTMLElement} timeline
 * @param {(article: HTMLElement) => string} textOf
 */
export function startCopyButtons(timeline, textOf) {
  timeline.addEventListener("click", async (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-copy], [data-copy-code]");
    if (!(button instanceof HTMLElement)) return;
    const article = /** @type {HTMLElement} */ (button.closest(".message"));
    const code = button.closest(".code")?.querySelector("code")?.textContent;
    if (await copyText(code ?? textOf(article))) showDone(button);
  });
}

/** @param {string} text @returns {Promise<boolean>} whether the text is in the clipboard */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** `navigator.clipboard` exists only on https and localhost; otherwise use a selection. @param {string} text */
function copyBySelection(text) {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  return copied;
}

/** @param {HTMLElement} button */
function showDone(button) {
  const before = button.firstElementChild;
  if (!before || button.dataset.done) return;
  button.dataset.done = "yes";
  before.replaceWith(icon("check", 16));
  setTimeout(() => {
    delete button.dataset.done;
    button.firstElementChild?.replaceWith(before);
  }, DONE_MS);
}
