// @ts-check
// "Search": filters the rows of the sidebar, and its rooms without a row, by the typed text. It sends
// no request, because the sidebar contains only what the reader may see. The server searches for the
// rooms of a reader who is in more rooms than the sidebar has.

import { openDialog } from "./dialog.js";
import { nextIndex } from "./menu.js";
import { rowFor, waitingRooms } from "./sidebar_rooms.js";

const MOST_WAITING = 50;

/** Handles the buttons that open the dialog, and Ctrl+K. Without scripts the buttons are hidden. */
export function startJumpDialog() {
  const dialog = document.getElementById("jump");
  const words = dialog?.querySelector("[data-jump-words]");
  if (!dialog || !(words instanceof HTMLInputElement)) return;
  const open = () => {
    words.value = "";
    list(dialog, "");
    openDialog("jump");
  };
  document.addEventListener("click", ({ target }) => {
    if (/** @type {Element} */ (target).closest("[data-opens=jump]")) open();
  });
  if (/Mac|iPhone|iPad/.test(navigator.platform)) showMacKeys();
  document.addEventListener("keydown", (event) => {
    const wanted = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
    if (!wanted || event.altKey || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    open();
  });
  words.addEventListener("input", () => list(dialog, words.value));
  dialog.addEventListener("keydown", (event) => onKey(event, dialog, words));
}

function showMacKeys() {
  for (const keys of document.querySelectorAll(".sidebar-keys")) keys.textContent = "⌘K";
}

/** @param {HTMLElement} dialog @param {string} words */
function list(dialog, words) {
  const wanted = words.trim().normalize("NFC").toLocaleLowerCase();
  const isWanted = (/** @type {string} */ name) => name.normalize("NFC").toLocaleLowerCase().includes(wanted);
  const rows = [...document.querySelectorAll("a.row[data-room-id], a.row[data-persona-id]")];
  const waiting = waitingRooms().filter((room) => isWanted(room.name)).slice(0, MOST_WAITING);
  const made = waiting.map((room) => /** @type {Element} */ (rowFor(room).querySelector("a.row")));
  const found = [...rows.filter((row) => isWanted(nameOf(row))), ...made];
  dialog.querySelector("[data-jump-list]")?.replaceChildren(...found.map(item));
  dialog.querySelector("[data-jump-none]")?.toggleAttribute("hidden", found.length > 0);
  const all = dialog.querySelector("[data-jump-all]");
  if (!(all instanceof HTMLAnchorElement)) return;
  const address = new URL(all.href);
  address.searchParams.set("q", words.trim());
  all.href = address.href;
}

/** @param {Element} row */
function item(row) {
  const link = document.createElement("a");
  link.className = "menu-item";
  link.href = /** @type {HTMLAnchorElement} */ (row).href;
  const sign = row.querySelector(".mark, .icon");
  if (sign) link.append(sign.cloneNode(true));
  link.append(nameOf(row));
  return link;
}

/** @param {Element} row */
function nameOf(row) {
  return row.querySelector(".row-name")?.textContent?.trim().normalize("NFC") ?? "";
}

/** @param {KeyboardEvent} event @param {HTMLElement} dialog @param {HTMLInputElement} words */
function onKey(event, dialog, words) {
  if (event.isComposing) return;
  const items = /** @type {HTMLElement[]} */ ([...dialog.querySelectorAll("a.menu-item")]);
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  if (event.key === "Enter" && document.activeElement === words) {
    event.preventDefault();
    items[0]?.click();
    return;
  }
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  event.preventDefault();
  const to = nextIndex(event.key, at, items.length);
  if (event.key === "ArrowUp" && at === 0) words.focus();
  else if (to !== null) items[to].focus();
}
