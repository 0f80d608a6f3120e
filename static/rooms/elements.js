// @ts-check
// Clones <template> elements and fills them in.

import { initials } from "../maru/avatars.js";
import { sharedTemplate } from "../maru/on_demand.js";

/** @typedef {{kind: "user" | "persona", id: string | null, name: string, handle: string, role: string,
 *   pigment: string, lattice: string, wood: string}} Speaker */

/** @typedef {import("./protocol.js").Author} Author */
/** @typedef {import("./room_state.js").RoomState} RoomState */

/**
 * @param {string} name of a <template id="template-…">: of the page, or shared by all rooms
 * @returns {HTMLElement} a copy of its first element
 */
export function clone(name) {
  const id = `template-${name}`;
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(id) ?? sharedTemplate(id));
  return /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
}

/**
 * @param {ParentNode} inside
 * @param {string} selector
 * @returns {HTMLElement}
 */
export function part(inside, selector) {
  return /** @type {HTMLElement} */ (inside.querySelector(selector));
}

/**
 * Makes a part of a message from its template if it is needed, and removes it if not: most messages have no such part.
 * @param {HTMLElement} article
 * @param {string} name of the template, and of the data attribute of the part
 * @param {boolean} isNeeded
 * @param {(made: HTMLElement) => void} insert
 * @returns {HTMLElement | null}
 */
export function neededPart(article, name, isNeeded, insert) {
  const known = article.querySelector(`[data-${name}]`);
  if (known instanceof HTMLElement && isNeeded) return known;
  if (known?.contains(document.activeElement)) article.focus();
  known?.remove();
  if (!isNeeded) return null;
  const made = clone(name);
  insert(made);
  return made;
}

/** Sets a text if it differs, because each change ends a selection and is read by screen readers.
 * @param {ParentNode} inside @param {string} selector @param {string} text */
export function setText(inside, selector, text) {
  const element = inside.querySelector(selector);
  if (element && element.textContent !== text) element.textContent = text;
}

/** @param {ParentNode} inside @param {Speaker} speaker whose avatar is shown */
export function setMark(inside, speaker) {
  const mark = part(inside, ".mark");
  if (speaker.kind === "persona") {
    mark.dataset.pigment = speaker.pigment;
    const drawing = mark.querySelector("use");
    const sprite = drawing?.getAttribute("href")?.split("#")[0] ?? "";
    drawing?.setAttribute("href", `${sprite}#lattice-${speaker.lattice}`);
    return;
  }
  mark.dataset.wood = speaker.wood;
  const letters = initials(speaker.name, Number(mark.dataset.size) < 32 ? 1 : 2);
  (mark.querySelector("[data-initials]") ?? mark).textContent = letters;
}

/**
 * Returns the speaker of a message. An author who has left the room keeps the stored name and gets the default avatar.
 * @param {RoomState} state
 * @param {Author} author
 * @returns {Speaker}
 */
export function speakerOf(state, { kind, id, name, handle }) {
  const persona = kind === "persona" ? state.personas.get(id ?? "") : undefined;
  const member = kind === "user" ? state.members.get(id ?? "") : undefined;
  return {
    kind,
    id,
    name: name || persona?.name || member?.name || "",
    handle: handle || persona?.handle || member?.handle || "",
    role: persona?.role ?? "",
    pigment: persona?.pigment ?? "meok",
    lattice: persona?.lattice ?? "gyeoksal",
    wood: member?.wood ?? "paulownia",
  };
}
