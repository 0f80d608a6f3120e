// @ts-check
// Pieces of markup that the server has rendered for the scripts to clone, and the filling in of them.

import { initials } from "../maru/avatars.js";

/** @typedef {{kind: "user" | "persona", id: string | null, name: string, role: string,
 *   pigment: string, lattice: string, wood: string}} Speaker */

/** @typedef {import("./protocol.js").Author} Author */
/** @typedef {import("./room_state.js").RoomState} RoomState */

/**
 * @param {string} name of a <template id="template-…">
 * @returns {HTMLElement} a copy of what is in it
 */
export function clone(name) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(`template-${name}`));
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

/** Writes only what differs: what stays the same is not read aloud, nor selected away.
 * @param {ParentNode} inside @param {string} selector @param {string} text */
export function setText(inside, selector, text) {
  const element = inside.querySelector(selector);
  if (element && element.textContent !== text) element.textContent = text;
}

/** @param {ParentNode} inside @param {Speaker} speaker the look of the mark inside */
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
 * Who says a message. Whoever has left keeps the name that stands with it; the look is gone with them.
 * @param {RoomState} state
 * @param {Author} author
 * @returns {Speaker}
 */
export function speakerOf(state, { kind, id, name }) {
  const persona = kind === "persona" ? state.personas.get(id ?? "") : undefined;
  const member = kind === "user" ? state.members.get(id ?? "") : undefined;
  return {
    kind,
    id,
    name: name || persona?.name || member?.name || "",
    role: persona?.role ?? "",
    pigment: persona?.pigment ?? "meok",
    lattice: persona?.lattice ?? "gyeoksal",
    wood: member?.wood ?? "paulownia",
  };
}
