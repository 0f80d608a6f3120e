// @ts-check
// The rooms of the sidebar that the server has not rendered: the page has them as data, and their
// rows are made when the reader scrolls to the end of the list.

const BATCH = 40;

/**
 * @typedef {object} WaitingRoom
 * @property {string} id
 * @property {string} name
 * @property {string} icon a symbol of the sprite
 * @property {number} unread
 * @property {number} mentions
 */

/** The waiting rooms of each section. @type {WaitingRoom[][]} */
let waiting = [];

/**
 * Makes rows while the end of a list is in view.
 * @param {(room: WaitingRoom) => void} onRow called with each room whose row was added to the page
 */
export function startWaitingRooms(onRow) {
  const ends = [...document.querySelectorAll("[data-rooms-end]")];
  waiting = ends.map((end) => roomsOf(end));
  ends.forEach((end, index) => observe(end, index, onRow));
}

/** The icons, by their numbers in the data (rooms/pages/sidebar.py). */
const ICONS = ["hash", "lock", "bell-off", "user", "users"];

/** @param {Element} end @returns {WaitingRoom[]} */
function roomsOf(end) {
  const data = document.getElementById(`waiting-${sectionOf(end).dataset.section}`)?.textContent;
  if (!data) return [];
  /** @type {{ids: string, names: string[], icons: string, unread: number[], mentions: Record<number, number>}} */
  const { ids, names, icons, unread, mentions } = JSON.parse(data);
  const bytes = atob(ids);
  return names.map((name, at) => (
    { id: uuidOf(bytes.slice(at * 16, at * 16 + 16)), name, icon: ICONS[Number(icons[at])], unread: unread[at], mentions: mentions[at] ?? 0 }
  ));
}

/** @param {string} bytes of a UUID, each as a character @returns {string} */
function uuidOf(bytes) {
  const hex = [...bytes].map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/u, "$1-$2-$3-$4-");
}

/** @param {Element} end @returns {HTMLElement} */
function sectionOf(end) {
  return /** @type {HTMLElement} */ (end.closest("[data-section]"));
}

/** @param {Element} end @param {number} index @param {(room: WaitingRoom) => void} onRow */
function observe(end, index, onRow) {
  const list = sectionOf(end).querySelector("[data-rooms]");
  const box = end.closest(".sidebar-scroll");
  const observer = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    const current = box?.querySelector("[aria-current=page]");
    const isSeen = box && current && current.getBoundingClientRect().bottom <= box.getBoundingClientRect().bottom + 1;
    for (const room of waiting[index].splice(0, BATCH)) {
      list?.append(rowFor(room));
      onRow(room);
    }
    if (isSeen) current.scrollIntoView({ block: "nearest" }); // the new rows may have moved it down
    // The observer reports only changes: observe again, because the end may still be in view.
    observer.unobserve(end);
    if (waiting[index].length) observer.observe(end);
  }, { root: box, rootMargin: "400px" });
  observer.observe(end);
}

/** @returns {readonly WaitingRoom[]} the rooms without a row */
export function waitingRooms() {
  return waiting.flat();
}

/** @param {string | undefined} section @returns {readonly WaitingRoom[]} the rooms of a section without a row */
export function waitingIn(section) {
  const ends = [...document.querySelectorAll("[data-rooms-end]")];
  return waiting[ends.findIndex((end) => sectionOf(end).dataset.section === section)] ?? [];
}

/** @param {string} id @returns {string} the address of the row of a room */
export function rowAddress(id) {
  const { rowUrl = "", rowId = "" } = /** @type {HTMLElement} */ (document.querySelector("[data-row-url]")).dataset;
  return rowUrl.replace(rowId, id);
}

/** @param {string} id @returns {WaitingRoom | undefined} */
export function waitingRoom(id) {
  return waitingRooms().find((room) => room.id === id);
}

/** @param {string} id */
export function removeWaitingRoom(id) {
  waiting = waiting.map((rooms) => rooms.filter((room) => room.id !== id));
}

/** @param {WaitingRoom} room @returns {HTMLElement} a new row, which is not in the page yet */
export function rowFor(room) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById("template-room-row"));
  const item = /** @type {HTMLElement} */ (template.content.firstElementChild?.cloneNode(true));
  const row = /** @type {HTMLAnchorElement} */ (item.querySelector("a"));
  row.setAttribute("href", (row.getAttribute("href") ?? "").replace(row.dataset.roomId ?? "", room.id));
  row.dataset.roomId = room.id;
  if (room.icon === "bell-off") row.dataset.state = "muted";
  const icon = row.querySelector("use");
  icon?.setAttribute("href", (icon.getAttribute("href") ?? "").replace("#hash", `#${room.icon}`));
  const name = row.querySelector(".row-name > bdi");
  if (name) name.textContent = room.name;
  return item;
}
