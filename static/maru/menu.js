// @ts-check
// Native popovers open, close and restore the focus. This module positions them next to their button and
// handles the arrow keys.

const GAP = 4;
const EDGE = 8;

/** Enables every `.menu[popover]` of the page, including those that are added later. */
export function startMenus() {
  document.addEventListener("toggle", onToggle, true);
  document.addEventListener("keydown", onKey);
}

/**
 * Positions a floating element next to its anchor, inside the window.
 * @param {HTMLElement} floating
 * @param {Element} anchor
 * @param {string} [place] "below-start", "below-end", "above-start" or "above-end"
 */
export function place(floating, anchor, place = "below-start") {
  const box = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = floating;
  const left = place.endsWith("end") ? box.right - width : box.left;
  const below = box.bottom + GAP;
  const above = box.top - GAP - height;
  const fitsBelow = below + height <= innerHeight - EDGE;
  const wanted = place.startsWith("above") ? (above >= EDGE ? above : below) : fitsBelow ? below : above;
  floating.style.left = `${clamp(left, EDGE, innerWidth - EDGE - width)}px`;
  floating.style.top = `${clamp(wanted, EDGE, innerHeight - EDGE - height)}px`;
}

/** @param {Event} event */
function onToggle(event) {
  const menu = event.target;
  if (!(menu instanceof HTMLElement) || !menu.matches(".menu[popover]")) return;
  const opener = openerOf(menu);
  const open = /** @type {ToggleEvent} */ (event).newState === "open";
  opener?.setAttribute("aria-expanded", String(open));
  if (!open || !opener) return;
  place(menu, opener, menu.dataset.place);
  itemsOf(menu)[0]?.focus();
}

/** @param {KeyboardEvent} event */
function onKey(event) {
  const menu = /** @type {Element} */ (event.target).closest?.(".menu[popover]");
  if (!(menu instanceof HTMLElement)) return;
  const items = itemsOf(menu);
  const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
  const to = nextIndex(event.key, at, items.length);
  if (to === null) return;
  event.preventDefault();
  items[to].focus();
}

/**
 * @param {string} key
 * @param {number} at
 * @param {number} count
 * @returns {number | null} the index that the key selects, or null
 */
export function nextIndex(key, at, count) {
  if (!count) return null;
  if (key === "ArrowDown") return (at + 1) % count;
  if (key === "ArrowUp") return (Math.max(at, 0) - 1 + count) % count;
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  return null;
}

/** @param {HTMLElement} menu @returns {HTMLElement | null} */
export function openerOf(menu) {
  return document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
}

/** @param {HTMLElement} menu @returns {HTMLElement[]} */
function itemsOf(menu) {
  return /** @type {HTMLElement[]} */ ([...menu.querySelectorAll(".menu-item:not([disabled])")]).filter(
    (item) => item.offsetParent !== null || item.getClientRects().length > 0,
  );
}

/** @param {number} value @param {number} low @param {number} high */
function clamp(value, low, high) {
  return Math.max(low, Math.min(value, high));
}
