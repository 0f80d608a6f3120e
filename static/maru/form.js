// @ts-check
// Additions to forms: a busy button, character counts, a count of unsaved changes, and a warning before
// unsaved changes are lost. Every form works without them.

import { fill, gettext, ngettext } from "./translations.js";

/** Enables every `form` of the page, including those that are added later. */
export function startForms() {
  document.addEventListener("submit", onSubmit);
  // A page restored from the back/forward cache must not keep its busy button.
  addEventListener("pageshow", () => document.querySelectorAll("[aria-busy=true]").forEach(endBusy));
}

/** Enables `form[data-guard]` and `[data-counts]` in this part of the page. @param {ParentNode} root */
export function startFields(root) {
  for (const count of root.querySelectorAll("[data-counts]")) startCount(count);
  for (const form of root.querySelectorAll("form[data-guard]")) {
    if (form instanceof HTMLFormElement) trackChanges(form);
  }
  // Focus the first invalid field of a refused form.
  const wrong = root.querySelector("form [aria-invalid=true]");
  if (wrong instanceof HTMLElement) wrong.focus();
}

/** @param {SubmitEvent} event */
function onSubmit(event) {
  const button = event.submitter;
  if (event.defaultPrevented || !(button instanceof HTMLButtonElement)) return;
  if (!button.dataset.busy) return;
  if (button.getAttribute("aria-busy") === "true") return event.preventDefault();
  // Keep the width, so that the layout does not move when the label changes.
  button.style.minWidth = `${button.offsetWidth}px`;
  button.dataset.rest = button.textContent ?? "";
  button.textContent = button.dataset.busy;
  button.setAttribute("aria-busy", "true");
}

/** @param {Element} button */
function endBusy(button) {
  if (!(button instanceof HTMLElement) || button.dataset.rest === undefined) return;
  button.textContent = button.dataset.rest;
  button.removeAttribute("aria-busy");
}

/**
 * <span data-counts="id_goal"></span> shows "43 / 400", in code points as the server counts them.
 * @param {Element} count
 */
function startCount(count) {
  const field = document.getElementById(/** @type {HTMLElement} */ (count).dataset.counts ?? "");
  if (!(field instanceof HTMLInputElement || field instanceof HTMLTextAreaElement)) return;
  const show = () => {
    const letters = Array.from(field.value).length;
    count.textContent = `${letters.toLocaleString()} / ${field.maxLength.toLocaleString()}`;
  };
  field.addEventListener("input", show);
  field.form?.addEventListener("reset", () => setTimeout(show));
  show();
}

/**
 * Tracks changes since the page was loaded: marks the fields, counts them in the save bar, and
 * warns before they are lost.
 * @param {HTMLFormElement} form
 */
export function trackChanges(form) {
  const first = readValues(form);
  let leaving = false;
  const update = () => showChanges(form, changedNames(first, readValues(form)));
  form.addEventListener("input", update);
  form.addEventListener("change", update);
  form.addEventListener("reset", () => setTimeout(update));
  // Runs after the form's own listeners: a form that a script submits has called preventDefault().
  document.addEventListener("submit", (event) => {
    if (event.target === form) leaving = !event.defaultPrevented;
  });
  addEventListener("pageshow", () => (leaving = false));
  addEventListener("beforeunload", (event) => {
    if (leaving || !changedNames(first, readValues(form)).length) return;
    event.preventDefault();
  });
  update();
}

/** @param {HTMLFormElement} form @returns {Map<string, string>} */
function readValues(form) {
  const values = new Map();
  for (const [name, value] of new FormData(form)) {
    if (name === "csrfmiddlewaretoken" || typeof value !== "string") continue;
    values.set(name, values.has(name) ? `${values.get(name)}\u0000${value}` : value);
  }
  return values;
}

/**
 * @param {Map<string, string>} before
 * @param {Map<string, string>} after
 * @returns {string[]} the names of the fields that differ
 */
export function changedNames(before, after) {
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].filter((name) => (before.get(name) ?? "") !== (after.get(name) ?? ""));
}

/** @param {HTMLFormElement} form @param {string[]} names */
function showChanges(form, names) {
  if (form.dataset.guard === "new") return; // a form for a new object: every field is new
  for (const field of form.querySelectorAll(".field[data-name]")) {
    if (field instanceof HTMLElement) markField(field, names.includes(field.dataset.name ?? ""));
  }
  const words = form.querySelector("[data-changes]");
  if (words) {
    const sentence = ngettext("%(count)s change", "%(count)s changes", names.length);
    words.textContent = names.length ? fill(sentence, { count: names.length }) : "";
  }
  for (const button of form.querySelectorAll("[data-needs-changes]")) {
    if (button instanceof HTMLButtonElement) button.disabled = !names.length;
  }
  form.dispatchEvent(new CustomEvent("maru:changes", { detail: { names }, bubbles: true }));
}

/** @param {HTMLElement} field @param {boolean} changed */
function markField(field, changed) {
  const sign = field.querySelector(".field-changed");
  if (!changed) return sign?.remove();
  if (sign) return;
  const word = document.createElement("span");
  word.className = "field-changed";
  word.textContent = gettext("Changed");
  field.querySelector(".field-label")?.after(word);
}
