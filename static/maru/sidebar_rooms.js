// @ts-check
// The rooms of the sidebar that the server has not rendered: the page has them as data, and their
// rows are made when the reader scrolls to the end of the list.

const BATCH = 40;

/**
 * @typedef {object} WaitingRoom
 * @property {string} id
 * @property {string} name
 * @property {boolean} isPrivate
 * @property {number} unread
 * @property {number} mentions
 */

/** @type {WaitingRoom[]} */
let waiting = [];

/**
 * Makes rows while the end of the list is in view.
 * @param {(room: WaitingRoom) => void} onRow called with each room whose row was added to the page
 */
export function startWaitingRooms(onRow) {
  const data = document.getElementById("waiting-rooms")?.textContent;
  const list = document.querySelector("[data-rooms]");
  const end = document.querySelector("[data-all-rooms]");
  if (!data || !list || !end) return;
  waiting = JSON.parse(data).map(
    (/** @type {[string, string, number, number, number]} */ [id, name, isPrivate, unread, mentions]) =>
      ({ id, name, isPrivate: Boolean(isPrivate), unread, mentions }),
  );
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    for (const room of waiting.splice(0, BATCH)) {
      list.append(rowFor(room));
      onRow(room);
    }
    // The observer reports only changes: observe again, because the end may still be in view.
    observer.unobserve(end);
    if (waiting.length) observer.observe(end);
  }, { root: end.closest(".sidebar-scroll"), rootMargin: "400px" });
  observer.observe(end);
}

/** @returns {readonly WaitingRoom[]} the rooms without a row */
export function waitingRooms() {
  return waiting;
}

/** @param {string} id @returns {WaitingRoom | undefined} */
export function waitingRoom(id) {
  return waiting.find((room) => room.id === id);
}

/** @param {string} id */
export function removeWaitingRoom(id) {
  waiting = waiting.filter((room) => room.id !== id);
}

/** @param {WaitingRoom} room @returns {HTMLElement} a new row, which is not in the page yet */
export function rowFor(room) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("template-room-row"));
  const item = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
  const row = /** @type {HTMLAnchorElement} */ (item.querySelector("a"));
  row.setAttribute("href", (row.getAttribute("href") ?? "").replace(row.dataset.roomId ?? "", room.id));
  row.dataset.roomId = room.id;
  const icon = row.querySelector("use");
  if (room.isPrivate) icon?.setAttribute("href", (icon.getAttribute("href") ?? "").replace("#hash", "#lock"));
  const name = row.querySelector(".row-name > bdi");
  if (name) name.textContent = room.name;
  return item;
}
