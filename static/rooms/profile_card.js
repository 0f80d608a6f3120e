// @ts-check
// A link to the profile card of a person or persona shows the card over the page. Without this module,
// with a modifier key or after an error, the link opens the page of the card.

import { gettext } from "../maru/translations.js";
import { icon } from "../maru/avatars.js";

/** Shows the cards of `a[data-card-link]`. */
export function startProfileCards() {
  document.addEventListener("click", (event) => {
    const link = /** @type {Element} */ (event.target).closest("a[data-card-link]");
    const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
    if (!(link instanceof HTMLAnchorElement) || !plain || event.defaultPrevented) return;
    event.preventDefault();
    void show(link.href);
  });
}

let request = new AbortController();

/** @param {string} address */
async function show(address) {
  request.abort(); // a second press shows one card
  const { signal } = (request = new AbortController());
  const answer = await fetch(address, { signal }).catch(() => null);
  const page = answer?.ok && !answer.redirected ? await answer.text().catch(() => "") : "";
  if (signal.aborted) return;
  const card = new DOMParser().parseFromString(page, "text/html").querySelector("[data-card]");
  if (!card) return location.assign(address);
  const dialog = document.createElement("dialog");
  dialog.className = "dialog";
  const name = card.querySelector(".card-name")?.textContent?.trim() ?? "";
  dialog.setAttribute("aria-label", name);
  dialog.append(closeButton(dialog), card);
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** @param {HTMLDialogElement} dialog */
function closeButton(dialog) {
  const button = document.createElement("button");
  button.className = "button card-close";
  button.type = "button";
  button.dataset.shape = "icon";
  button.setAttribute("aria-label", gettext("Close"));
  button.append(icon("x", 16));
  button.addEventListener("click", () => dialog.close());
  return button;
}
