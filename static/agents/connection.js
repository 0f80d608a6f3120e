// @ts-check
// The form of a connection: the check answers in place, and the demo asks for no address.
// Without this module the same buttons load the page anew.

import { gettext } from "../maru/translations.js";
import { icon } from "../maru/avatars.js";

/** @typedef {{ok: boolean, detail: string, models: string[]}} CheckResult */

const form = document.querySelector("form[data-connection]");
if (form instanceof HTMLFormElement) start(form);

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
  const result = await ask(button.formAction, new FormData(form));
  button.textContent = label;
  button.removeAttribute("aria-busy");
  show(form, result);
}

/** @param {string} address @param {FormData} body @returns {Promise<CheckResult>} */
async function ask(address, body) {
  try {
    const answer = await fetch(address, {
      method: "POST",
      headers: { Accept: "application/json" },
      body,
    });
    if (answer.ok) return await answer.json();
  } catch {
    // No way to the server: the sentence below says so.
  }
  const detail = gettext("The check did not get through. Try again in a moment.");
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
  place.scrollIntoView({ block: "nearest" }); // a long list of models pushes it down
}

/** An empty list of models takes what the provider lists; one that somebody wrote is left alone.
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
