// @ts-check
// The persona editor: shows the patterns in the chosen colour and the draft in the list of versions, and
// switches tabs.

/** Enables the editor if it is in this part of the page. @param {ParentNode} root */
export function startStudio(root) {
  const form = root.querySelector("form[data-studio]");
  if (!(form instanceof HTMLFormElement)) return;
  form.addEventListener("change", () => showPigment(form));
  form.addEventListener("reset", () => setTimeout(() => showPigment(form)));
  form.addEventListener("maru:changes", (event) => {
    showDraft(form, /** @type {CustomEvent<{names: string[]}>} */ (event).detail.names);
  });
  startTabs();
}

/** @param {HTMLFormElement} form */
function showPigment(form) {
  const row = form.querySelector("[data-look]");
  const pigment = new FormData(form).get("pigment");
  if (row instanceof HTMLElement && typeof pigment === "string") row.dataset.pigment = pigment;
}

/** @param {HTMLFormElement} form @param {string[]} names */
function showDraft(form, names) {
  const draft = document.querySelector("[data-draft]");
  const fields = draft?.querySelector("[data-draft-fields]");
  if (!(draft instanceof HTMLElement) || !fields) return;
  draft.hidden = !names.length;
  const labels = names.map((name) => {
    const field = form.querySelector(`.field[data-name="${CSS.escape(name)}"]`);
    return field?.querySelector(".field-label")?.textContent ?? "";
  });
  fields.textContent = labels.filter(Boolean).join(", ");
}

/** Switches tabs without a reload, so that unsaved input is kept. The tabs are links to the same page. */
function startTabs() {
  const shell = document.querySelector(".shell");
  const tabs = /** @type {HTMLElement[]} */ ([...document.querySelectorAll(".tabs-item[data-tab]")]);
  for (const tab of tabs) {
    tab.addEventListener("click", (event) => {
      event.preventDefault();
      if (shell instanceof HTMLElement) shell.dataset.tab = tab.dataset.tab;
      for (const other of tabs) other.toggleAttribute("aria-current", false);
      tab.setAttribute("aria-current", "page");
    });
  }
}
