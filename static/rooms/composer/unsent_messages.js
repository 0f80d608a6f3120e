// @ts-check
// Shows the entries of the outbox below the timeline until the server has stored them.

import { clone, part, setText } from "../elements.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {import("../connection/outbox.js").Entry} Entry */

/**
 * @param {HTMLElement} place
 * @param {Entry[]} entries
 */
export function showUnsentMessages(place, entries) {
  const known = new Map([...place.children].map((item) => [/** @type {HTMLElement} */ (item).dataset.id, item]));
  place.replaceChildren(...entries.map((entry) => shown(known.get(entry.client_id) ?? clone("outgoing"), entry)));
}

/** @param {Element} element @param {Entry} entry @returns {HTMLElement} */
function shown(element, { client_id: id, text, state, detail }) {
  const item = /** @type {HTMLElement} */ (element);
  const refused = state === "refused";
  item.dataset.id = id;
  item.dataset.state = state;
  setText(item, "[data-text]", text);
  setText(item, "[data-words]", detail || gettext("Sending"));
  part(item, "[data-send-again]").hidden = !refused;
  part(item, "[data-take-back]").hidden = !refused;
  return item;
}

/**
 * Starts the buttons of refused messages: send again, and back to the text field.
 * @param {HTMLElement} place
 * @param {import("../connection/outbox.js").Outbox} outbox
 * @param {{restore: (text: string) => void}} composer
 */
export function startUnsentMessages(place, outbox, composer) {
  place.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-send-again], [data-take-back]");
    const id = button?.closest("[data-id]")?.getAttribute("data-id");
    if (!button || !id) return;
    if (button.matches("[data-send-again]")) return outbox.again(id);
    composer.restore(outbox.remove(id)?.text ?? "");
  });
}
