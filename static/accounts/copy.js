// @ts-check
// Copy buttons for secrets that are shown once; a click on the field selects it.

/** @param {HTMLButtonElement} button */
function enableCopy(button) {
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

/** Enables the secrets in this part of the page. @param {ParentNode} root */
export function startSecrets(root) {
  for (const field of root.querySelectorAll("[data-selects]")) {
    if (field instanceof HTMLInputElement) field.addEventListener("focus", () => field.select());
  }
  // `navigator.clipboard` exists only on https and localhost; on other origins the field is selected.
  if (!navigator.clipboard) return;
  for (const button of root.querySelectorAll("[data-copies]")) {
    if (button instanceof HTMLButtonElement) enableCopy(button);
  }
}
