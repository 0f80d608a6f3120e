// @ts-check
// Updates the sidebar of a live page. The templates render every element; this module changes only
// attributes, texts and visibility.

import { icon, planks } from "./avatars.js";
import { nextIndex } from "./menu.js";
import { removeWaitingRoom, rowAddress, startWaitingRooms, waitingRoom } from "./sidebar_rooms.js";
import { countWords, showSums, startSections } from "./sidebar_sections.js";
import { fill, gettext, ngettext } from "./translations.js";

/** Makes each list of rows one tab stop, with arrow keys inside (roving tabindex). */
export function startSidebar() {
  startWaitingRooms(({ id, unread, mentions }) => setRoomCounts(id, { unread, mentions }));
  for (const list of document.querySelectorAll("[data-roving]")) rove(list);
  startSections();
}

/**
 * @param {string} room
 * @param {{unread: number, mentions: number}} counts
 */
export function setRoomCounts(room, { unread, mentions }) {
  Object.assign(waitingRoom(room) ?? {}, { unread, mentions });
  const row = rowOf("room", room);
  if (!row && unread && !waitingRoom(room)) void addRow(room);
  showRow(row, { unread, mentions });
  showSums();
}

/**
 * Changes the number of mentions, and keeps that of the unread messages.
 * @param {string} room @param {number} more negative for mentions that were read
 */
export function addRoomMentions(room, more) {
  const row = rowOf("room", room);
  const { unread = 0, mentions = 0 } = waitingRoom(room) ?? { unread: row?.dataset.new, mentions: row?.dataset.mentions };
  setRoomCounts(room, { unread: Number(unread), mentions: Math.max(0, Number(mentions) + more) });
}

/** @param {HTMLElement | null} row @param {{unread: number, mentions: number}} counts */
function showRow(row, { unread, mentions }) {
  const count = row?.querySelector("[data-count]");
  if (!row || !(count instanceof HTMLElement)) return;
  Object.assign(row.dataset, { new: unread, mentions });
  if (row.dataset.state !== "muted") {
    row.dataset.state = mentions ? "mentioned" : unread ? "unread" : "";
  }
  count.hidden = row.dataset.state === "muted" || !(unread || mentions);
  setText(count, "[data-count-figure]", String(mentions || unread));
  setText(count, "[data-count-words]", countWords({ unread, mentions }));
}

/** The rooms whose row was requested. @type {Set<string>} */
const requested = new Set();

/**
 * Adds the row of a room that the reader came into while the page was open: another person has
 * started a conversation, or has added the reader.
 * @param {string} room
 */
async function addRow(room) {
  if (requested.has(room)) return;
  requested.add(room);
  const answer = await fetch(rowAddress(room)).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const item = page.body.firstElementChild;
  const key = item?.querySelector(".row-lead, use[href$='#user'], use[href$='#users']") ? "direct" : "rooms";
  const list = document.querySelector(`[data-section=${key}] [data-rooms]`);
  if (!item || !list || rowOf("room", room)) return;
  list.parentElement?.querySelector("[data-no-rooms]")?.remove();
  list.prepend(item);
  showSums();
}

/** The threads with new replies, by room. @type {Map<string, number> | undefined} */
let threadCounts;

/** Shows the number of threads with new replies. @param {string} room @param {(before: number) => number} change */
export function setUnreadThreads(room, change) {
  const row = document.querySelector("[data-threads-row]");
  if (!(row instanceof HTMLElement)) return;
  if (!rowOf("room", room) && !waitingRoom(room)) return; // of another team
  threadCounts ??= new Map(Object.entries(JSON.parse(row.dataset.byRoom ?? "{}")));
  threadCounts.set(room, Math.max(0, change(threadCounts.get(room) ?? 0)));
  const threads = [...threadCounts.values()].reduce((sum, each) => sum + each, 0);
  row.dataset.state = threads ? "unread" : "";
  const words = ngettext("%(count)s thread with new replies", "%(count)s threads with new replies", threads);
  for (const count of document.querySelectorAll("[data-threads-count]")) {
    count.toggleAttribute("hidden", !threads);
    setText(count, "[data-count-figure]", String(threads));
    setText(count, "[data-count-words]", fill(words, { count: threads }));
  }
}

/** @param {string} room @param {boolean} working whether a persona is answering in the room */
export function setRoomWorking(room, working, pigment = "") {
  showPlanks(rowOf("room", room), working, pigment, gettext("A persona is answering"));
}

/** @param {string} room @param {boolean} asking whether a decision in the room waits for the reader */
export function setRoomAsking(room, asking) {
  showHand(rowOf("room", room), asking);
}

/** @param {HTMLElement | null} row @param {boolean} asking */
function showHand(row, asking) {
  const shown = row?.querySelector("[data-hand]");
  if (!row || Boolean(shown) === asking) return;
  shown?.remove();
  if (shown) return;
  const hand = document.createElement("span");
  hand.className = "row-hand";
  hand.dataset.hand = "";
  hand.append(icon("hand", 16), unseen(gettext("A decision waits for you")));
  row.querySelector("[data-planks]")?.before(hand);
}

/** @param {string} room @param {string} line the start of the last message */
export function setRoomLine(room, line) {
  setText(rowOf("room", room), "[data-last-line]", line);
}

/** Removes the row of a room; if it had the focus, focuses the next row. @param {string} room */
export function removeRoom(room) {
  removeWaitingRoom(room);
  const row = rowOf("room", room);
  const item = row?.closest("[role=listitem]") ?? row;
  if (!row || !item) return showSums(); // it may have waited for its row
  const neighbour = item.nextElementSibling ?? item.previousElementSibling;
  const next = neighbour?.querySelector(".row");
  if (document.activeElement === row && next instanceof HTMLElement) next.focus();
  item.remove();
  showSums();
}

/**
 * @param {string} persona
 * @param {{working: boolean, asking: boolean, words?: string}} state `words`, for example "Queued", replace the
 *   activity indicator; `asking`: it waits for people
 */
export function setPersonaStatus(persona, { working, asking, words = "" }) {
  const row = rowOf("persona", persona);
  showPlanks(row, working, "");
  showHand(row, asking && !working);
  setText(row, "[data-status]", words);
}

/** The users of the room of this page who are online, with or without an element. @type {Set<string>} */
const present = new Set();

/** @param {string} user @param {boolean} online */
export function setPresence(user, online) {
  if (online) present.add(user);
  else present.delete(user);
  mark(user, online, document);
  const others = [...present].filter((id) => id !== me()).length;
  const sentence = fill(ngettext("%(count)s online", "%(count)s online", others), { count: others });
  setText(document, "[data-people-online]", others ? sentence : "");
}

/** Shows who is online in elements that were added to the page. @param {ParentNode} added */
export function showPresence(added) {
  for (const user of present) mark(user, true, added);
}

/** @param {string} user @param {boolean} online @param {ParentNode} inside */
function mark(user, online, inside) {
  const id = CSS.escape(user);
  const dots = `.presence[data-user-id="${id}"], [data-user-id="${id}"] .presence`;
  const state = online ? "online" : "offline";
  for (const dot of inside.querySelectorAll(dots)) dot.setAttribute("data-state", state);
  for (const words of inside.querySelectorAll(`[data-user-id="${id}"] [data-presence-words]`)) {
    words.textContent = online ? gettext("online") : gettext("away");
  }
}

function me() {
  return document.querySelector(".sidebar-foot .presence")?.getAttribute("data-user-id");
}

/**
 * @param {Element | null} row
 * @param {boolean} working
 * @param {string} pigment
 * @param {string} [words] for screen readers
 */
function showPlanks(row, working, pigment, words = "") {
  const slot = row?.querySelector("[data-planks]");
  if (!(slot instanceof HTMLElement)) return;
  slot.hidden = !working;
  slot.replaceChildren(...(working ? [planks(pigment || slot.dataset.pigment), unseen(words)] : []));
}

/** @param {string} words @returns {HTMLElement} words for screen readers only */
function unseen(words) {
  const element = document.createElement("span");
  element.className = "unseen";
  element.textContent = words;
  return element;
}

/** @param {string} kind @param {string} id @returns {HTMLElement | null} */
function rowOf(kind, id) {
  return document.querySelector(`.row[data-${kind}-id="${CSS.escape(id)}"]`);
}

/** @param {ParentNode | null} inside @param {string} selector @param {string} text */
function setText(inside, selector, text) {
  const element = inside?.querySelector(selector);
  if (element && element.textContent !== text) element.textContent = text;
}

/** @param {Element} list */
function rove(list) {
  const rows = () => /** @type {HTMLElement[]} */ ([...list.querySelectorAll("a.row")]);
  const settle = (/** @type {HTMLElement | undefined} */ stop) => {
    for (const row of rows()) row.tabIndex = row === stop ? 0 : -1;
  };
  settle(rows().find((row) => row.hasAttribute("aria-current")) ?? rows()[0]);
  list.addEventListener("focusin", (event) => {
    const row = /** @type {Element} */ (event.target).closest("a.row");
    if (row instanceof HTMLElement) settle(row);
  });
  list.addEventListener("keydown", (event) => {
    if (!(event instanceof KeyboardEvent)) return;
    const all = rows();
    const to = nextIndex(event.key, all.indexOf(/** @type {HTMLElement} */ (event.target)), all.length);
    if (to === null) return;
    event.preventDefault();
    all[to].focus();
  });
}
