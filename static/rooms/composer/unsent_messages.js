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
