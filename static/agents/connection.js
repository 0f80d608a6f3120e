// @ts-check
// The form of a connection: shows the result of a check without a reload, and hides the address for
// the demo provider. Without this module the buttons submit the form and reload the page.

import { gettext } from "../maru/translations.js";
import { icon } from "../maru/avatars.js";

/** @typedef {{ok: boolean, detail: string, models: string[]}} CheckResult */

/** Enables the form if it is in this part of the page. @param {ParentNode} root */
export function startConnection(root) {
  const form = root.querySelector("form[data-connection]");
  if (form instanceof HTMLFormElement) start(form);
}

/** @param {HTMLFormElement} form */
function start(form) {
  form.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!(button instanceof HTMLButtonElement) || !("check" in button.dataset)) return;
    event.preventDefault();
    check(form, button);
  });
  form.addEventListener("change", () => showKind(form));
  showKind(form);
}

/** @param {HTMLFormElement} form @param {HTMLButtonElement} button */
async function check(form, button) {
  if (button.getAttribute("aria-busy") === "true") return;
  const label = button.textContent;
  button.style.minWidth = `${button.offsetWidth}px`;
  button.textContent = gettext("Checking");
  button.setAttribute("aria-busy", "true");
  const result = await requestCheck(button.formAction, new FormData(form));
  button.textContent = label;
  button.removeAttribute("aria-busy");
  show(form, result);
}

/** @param {string} address @param {FormData} body @returns {Promise<CheckResult>} */
async function requestCheck(address, body) {
  try {
    const answer = await fetch(address, {
      method: "POST",
      headers: { Accept: "application/json" },
      body,
    });
    if (answer.ok) return await answer.json();
  } catch {
    // The server cannot be reached: the message below is shown.
  }
  const detail = gettext("The check could not be completed. Try again in a moment.");
  return { ok: false, detail, models: [] };
}

/** @param {HTMLFormElement} form @param {CheckResult} result */
function show(form, result) {
  const place = form.querySelector("[data-check-result]");
  if (!(place instanceof HTMLElement)) return;
  const notice = document.createElement("div");
  notice.className = "notice";
  notice.dataset.state = result.ok ? "success" : "error";
  const words = document.createElement("p");
  words.className = "notice-words";
  words.textContent = result.detail;
  notice.append(icon(result.ok ? "check" : "alert"), words);
  place.hidden = false;
  place.replaceChildren(notice);
  fillModels(form, result.models);
  place.scrollIntoView({ block: "nearest" }); // a long list of models moves the notice out of view
}

/** Fills an empty list of models with the models of the provider; a list with entries is not changed.
 * @param {HTMLFormElement} form @param {string[]} models */
function fillModels(form, models) {
  const field = form.elements.namedItem("models");
  if (!(field instanceof HTMLTextAreaElement) || field.value.trim() || !models.length) return;
  field.value = models.join("\n");
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** @param {HTMLFormElement} form */
function showKind(form) {
  const demo = new FormData(form).get("kind") === "demo";
  for (const name of ["base_url", "key", "models"]) {
    const field = form.querySelector(`.field[data-name="${name}"]`);
    if (field instanceof HTMLElement) field.hidden = demo;
  }
  const button = form.querySelector("[data-check]");
  if (button instanceof HTMLElement) button.hidden = demo;
}
