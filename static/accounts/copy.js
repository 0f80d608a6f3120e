// @ts-check
/** Secrets that are shown once: selected by a click, copied by a button. */

/** @param {HTMLButtonElement} button */
function copies(button) {
  const secret = document.getElementById(button.dataset.copies ?? "");
  const words = button.querySelector("[data-words]");
  if (!secret || !words) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (secret instanceof HTMLInputElement) secret.select();
    const text = secret instanceof HTMLInputElement ? secret.value : secret.innerText;
    await navigator.clipboard.writeText(text);
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
