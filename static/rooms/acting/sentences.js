// @ts-check
// Sentences with names in bold. Names and texts are data of people and models: each is isolated.

import { icon, planks } from "../../maru/avatars.js";
import { gettext, pieces } from "../../maru/translations.js";

/** @typedef {import("../protocol.js").Approval} Approval */

/**
 * @param {Element} element
 * @param {string} sentence with placeholders; all values but `text` are names
 * @param {Record<string, string | number>} values
 */
export function setSentence(element, sentence, values) {
  const parts = pieces(sentence, values);
  if (element.textContent === parts.map(([text]) => text).join("")) return;
  element.replaceChildren(...parts.map(([text, name]) => (name ? isolated(text, name !== "text") : text)));
}

/** @param {string} text @param {boolean} isName @returns {HTMLElement} */
function isolated(text, isName) {
  const bdi = document.createElement("bdi");
  bdi.textContent = text;
  if (!isName) return bdi;
  const bold = document.createElement("b");
  bold.append(bdi);
  return bold;
}

/** Shows one sign, unless it is shown already. @param {Element} place @param {string} name of an icon, "planks" or "" */
export function setSign(place, name, size = 14) {
  const shown = place.querySelector(".planks") ? "planks" : (place.querySelector("use")?.getAttribute("href")?.split("#")[1] ?? "");
  if (shown === name) return;
  place.replaceChildren(...(name === "planks" ? [planks()] : name ? [icon(name, size)] : []));
}

/**
 * Shows items in the elements of a list, one for each id; an element stays as long as its id.
 * @template T
 * @param {Element} list
 * @param {string} attribute of the elements, with the id
 * @param {{id: string, item: T}[]} items
 * @param {(item: T) => HTMLElement} make
 * @param {(element: HTMLElement, item: T) => void} fill
 */
export function setItems(list, attribute, items, make, fill) {
  const known = new Map([...list.children].map((child) => [child.getAttribute(attribute), /** @type {HTMLElement} */ (child)]));
  const ids = new Set(items.map(({ id }) => id));
  for (const [id, element] of known) if (!ids.has(id ?? "")) element.remove();
  items.forEach(({ id, item }, at) => {
    const element = known.get(id) ?? make(item);
    element.setAttribute(attribute, id);
    fill(element, item);
    // An element that is in place is not moved: it would lose its focus.
    if (list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
  });
}

/** @param {Approval} ask @param {boolean} isLost whether the reader has decided after another person @returns {string} */
export function outcomeSentence({ state, for_run: forRun, denial }, isLost) {
  if (state === "allowed" && isLost) return gettext("%(name)s allowed it first. Your decision was not used.");
  if (state === "denied" && isLost) return gettext("%(name)s denied it first. Your decision was not used.");
  if (state === "allowed" && forRun) return gettext("%(tool)s, allowed for this run by %(name)s");
  if (state === "allowed") return gettext("%(tool)s, allowed once by %(name)s");
  if (state === "denied") return gettext("%(tool)s, denied by %(name)s");
  if (state === "expired") return gettext("%(tool)s, denied: nobody decided in time");
  if (denial === "changed") return gettext("%(tool)s, not carried out: the tool has changed");
  if (denial === "no_decider") return gettext("%(tool)s, denied: nobody here may decide");
  return gettext("%(tool)s, no longer needed: the answer was stopped");
}
