// @ts-check
/** Secrets that are shown once: selected by a click, copied by a button. */

/** @param {HTMLButtonElement} button */
function copies(button) {
  const field = document.getElementById(button.dataset.copies ?? "");
  const words = button.querySelector("[data-words]");
  if (!(field instanceof HTMLInputElement) || !words) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    field.select();
    await navigator.clipboard.writeText(field.value);
    words.textContent = button.dataset.done ?? "";
  });
}

for (const field of document.querySelectorAll("[data-selects]")) {
  if (field instanceof HTMLInputElement) field.addEventListener("focus", () => field.select());
}

// Browsers have a clipboard on https and on this machine only; elsewhere the field can be selected.
if (navigator.clipboard) {
  for (const button of document.querySelectorAll("[data-copies]")) {
    if (button instanceof HTMLButtonElement) copies(button);
  }
}
