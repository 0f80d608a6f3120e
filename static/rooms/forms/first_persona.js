// @ts-check
// The form of a new room: offers the chosen personas as the one that answers first.

import { part } from "../elements.js";

/** Enables the form if it is in this part of the page. @param {ParentNode} root */
export function startFirstPersona(root) {
  const field = part(root, "[data-first-persona]");
  const list = root.querySelector("[data-finder][data-name=personas]");
  if (!field || !list) return;
  list.addEventListener("change", () => show(field, list));
  show(field, list);
}

/** @param {HTMLElement} field @param {Element} list of the personas with a box to tick for each */
function show(field, list) {
  const select = /** @type {HTMLSelectElement} */ (part(field, "select"));
  const before = select.value;
  const ticked = [...list.querySelectorAll(/** @type {"input"} */ ("input[name=personas]:checked"))];
  const options = ticked.map((box) => {
    const name = box.closest(".pick")?.querySelector(".list-name")?.textContent ?? "";
    return new Option(name.trim(), box.value);
  });
  select.replaceChildren(...options);
  if (ticked.some(({ value }) => value === before)) select.value = before;
  field.hidden = ticked.length < 2;
}
