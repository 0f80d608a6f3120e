// @ts-check
// Native dialogs: those of the page, opened by [data-opens] buttons, and a confirmation dialog.

import { openerOf } from "./menu.js";
import { gettext } from "./translations.js";

/** Enables [data-opens="dialog-id"] buttons, and forms and submit buttons with [data-confirm]. */
export function startDialogs() {
  document.addEventListener("click", (event) => {
    const opener = /** @type {Element} */ (event.target).closest("[data-opens]");
    if (opener instanceof HTMLElement) openDialog(opener.dataset.opens ?? "");
  });
  document.addEventListener("submit", onSubmit);
}

/** @param {string} id */
export function openDialog(id) {
  const dialog = document.getElementById(id);
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
}

/**
 * Asks for confirmation; resolves to true only if the person pressed the confirming button.
 * @param {{title: string, text?: string, yes: string, danger?: boolean}} question
 * @returns {Promise<boolean>}
 */
export function ask({ title, text, yes, danger = false }) {
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  const heading = paragraph("h2", "dialog-title", title);
  heading.id = "dialog-question";
  dialog.setAttribute("aria-labelledby", heading.id);
  const row = document.createElement("div");
  row.className = "button-row";
  row.dataset.align = "end";
  row.append(
    closeButton(dialog, gettext("Cancel"), "quiet", ""),
    closeButton(dialog, yes, danger ? "danger" : "primary", "yes"),
  );
  dialog.append(heading, paragraph("p", "dialog-text", text ?? ""), row);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}

/** @param {SubmitEvent} event */
async function onSubmit(event) {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.dataset.confirmed) return;
  const submitter = event.submitter;
  // A form with several buttons names the question at the button that needs it.
  const { confirm: title, confirmText: text, confirmYes: yes } = submitter?.dataset.confirm ? submitter.dataset : form.dataset;
  if (!title) return;
  event.preventDefault();
  if (!(await ask({ title, text, yes: yes ?? gettext("Continue"), danger: true }))) return focusOpener(submitter);
  form.dataset.confirmed = "yes";
  form.requestSubmit(submitter);
}

/** Focuses the button of the menu, because the dialog has closed the menu. @param {HTMLElement | null} button */
function focusOpener(button) {
  const menu = button?.closest(".menu[popover]");
  if (menu instanceof HTMLElement) openerOf(menu)?.focus();
}

/** @param {string} tag @param {string} name @param {string} text @returns {HTMLElement} */
function paragraph(tag, name, text) {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return element;
}

/** @param {HTMLDialogElement} dialog @param {string} label @param {string} kind @param {string} answer */
function closeButton(dialog, label, kind, answer) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.dataset.kind = kind;
  button.textContent = label;
  button.addEventListener("click", () => dialog.close(answer));
  return button;
}
