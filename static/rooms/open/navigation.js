// @ts-check
// Opens rooms, their settings and the home page without loading the page: the server renders only the
// main column and the panel, and the sidebar, the socket and the open rooms stay.
//
// Every address is also a page of its own. A response that does not fit this page (another version,
// language, team or sidebar, or the sign-in) is loaded as a page.

import { prepareActing } from "../acting/acting_parts.js";
import { icon } from "../../maru/avatars.js";
import { prepareForms } from "../../maru/forms/loading.js";
import { gettext } from "../../maru/translations.js";

/** What the window shows beside the sidebar: `parts` of the shell, two of which have names. `data` are the attributes of
 * the shell.
 * @typedef {{
 *   url: string, title: string, data: DOMStringMap,
 *   parts: Element[], main: HTMLElement, aside: HTMLElement | null,
 * }} Screen */

/** @typedef {{
 *   opened: (screen: Screen) => void,
 *   shown: (screen: Screen) => void,
 *   hidden: (screen: Screen) => void,
 *   keeps: (screen: Screen) => boolean,
 * }} Callbacks `keeps` returns whether a hidden screen may be shown again as it is
 */

const INSTANT = /^\/(?:rooms\/[0-9a-f-]{36}\/(?:settings\/)?)?$/;
// A thread is shown beside its room: threads.js changes and follows this part of the address.
const THREAD = /threads\/[0-9a-f-]{36}\/$/;
const BUSY_AFTER_MS = 300;

/** The server answered with an error status. */
class Refused extends Error {
  /** @param {number} status */
  constructor(status) {
    super(String(status));
    this.status = status;
  }
}

export class Navigation {
  /** @type {Screen} */
  #screen;
  /** Screens that were left, by address. @type {Map<string, Screen>} */
  #kept = new Map();
  #request = new AbortController();

  /** @param {HTMLElement} shell @param {Callbacks} callbacks */
  constructor(shell, callbacks) {
    this.shell = shell;
    this.callbacks = callbacks;
    this.#screen = screenOf(document, shell, addressOf(location));
  }

  start() {
    document.addEventListener("click", (event) => this.#onClick(event));
    addEventListener("popstate", () => this.#onPopState());
    this.callbacks.shown(this.#screen);
  }

  /**
   * Shows an address; a later call replaces one that is not finished.
   * @param {string} url @param {string | null} hash of the new entry in the history; null for an entry that exists
   */
  async go(url, hash) {
    this.#request.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    const kept = this.#kept.get(url);
    if (kept && this.callbacks.keeps(kept)) return this.#show(kept, hash);
    const busy = setTimeout(() => this.#setBusy(true), BUSY_AFTER_MS);
    try {
      const screen = await fetchScreen(url, this.shell, signal);
      if (signal.aborted) return;
      if (!screen) return location.assign(url);
      this.callbacks.opened(screen);
      this.#show(screen, hash);
    } catch (error) {
      if (!signal.aborted) this.#fail(url, error, hash);
    } finally {
      clearTimeout(busy);
      if (!signal.aborted) this.#setBusy(false);
    }
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const link = /** @type {Element} */ (event.target).closest("a[href]");
    if (!(link instanceof HTMLAnchorElement) || event.defaultPrevented || event.button !== 0) return;
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || link.target || link.download) return;
    const url = addressOf(link);
    const isHere = url === this.#screen.url;
    if (link.origin !== location.origin || !isInstant(link) || (isHere && link.hash)) return;
    // The browser warns before changes are lost, if it loads the page.
    if (this.#screen.main.querySelector("form[data-guard]")) return;
    event.preventDefault();
    link.closest("dialog")?.close();
    if (isHere) this.#abort();
    else void this.go(url, link.hash);
  }

  #onPopState() {
    const url = addressOf(location);
    if (url === this.#screen.url) return this.#abort(); // only the fragment of the address has changed
    if (isInstant(location)) void this.go(url, null);
    else location.reload();
  }

  /** The reader stays on the present screen. */
  #abort() {
    this.#request.abort();
    this.#setBusy(false);
  }

  /** @param {Screen} screen @param {string | null} hash */
  #show(screen, hash) {
    const before = this.#screen;
    this.callbacks.hidden(before);
    before.data = { ...this.shell.dataset };
    this.#kept.delete(before.url);
    if (this.callbacks.keeps(before)) this.#kept.set(before.url, before);
    for (const [url, kept] of this.#kept) if (!this.callbacks.keeps(kept)) this.#kept.delete(url);
    this.#screen = screen;
    if (hash !== null) history.pushState(null, "", screen.url + hash);
    document.title = screen.title;
    this.#replace(before, screen);
    for (const row of document.querySelectorAll(".sidebar a.row")) showCurrent(row, screen.url);
    this.callbacks.shown(screen);
    focusOn(screen.main);
  }

  /** @param {Screen} before @param {Screen} screen */
  #replace(before, screen) {
    const { shell } = this;
    before.main.querySelector("[data-navigation-failed]")?.remove();
    for (const part of before.parts) part.remove();
    shell.append(...screen.parts);
    for (const name of Object.keys(shell.dataset)) delete shell.dataset[name];
    Object.assign(shell.dataset, screen.data);
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    if (busy) this.shell.setAttribute("aria-busy", "true");
    else this.shell.removeAttribute("aria-busy");
  }

  /**
   * Shows what went wrong above the present screen, which stays.
   * @param {string} url @param {unknown} error @param {string | null} hash
   */
  #fail(url, error, hash) {
    if (!(error instanceof Refused) && !(error instanceof TypeError)) throw error; // fetch throws a TypeError
    if (hash === null) history.pushState(null, "", this.#screen.url); // the address is that of the screen again
    const { main } = this.#screen;
    main.querySelector("[data-navigation-failed]")?.remove();
    const notice = document.createElement("div");
    notice.className = "notices";
    notice.dataset.navigationFailed = "";
    const words = document.createElement("p");
    words.className = "notice-words";
    const again = document.createElement("a");
    again.href = url;
    again.textContent = gettext("Try again");
    words.append(sentenceFor(error), " ", again);
    const box = document.createElement("div");
    box.className = "notice";
    box.dataset.state = "error";
    box.setAttribute("role", "alert");
    box.append(icon("alert"), words);
    notice.append(box);
    const header = main.querySelector(":scope > .header");
    if (header) header.after(notice);
    else main.prepend(notice);
  }
}

/** @param {unknown} error @returns {string} */
function sentenceFor(error) {
  if (!(error instanceof Refused)) return gettext("The page could not be opened, because the server cannot be reached.");
  if (error.status === 404) return gettext("The page does not exist, or you have no access to it.");
  return gettext("The server could not open the page.");
}

/** @param {string} url @param {HTMLElement} shell @param {AbortSignal} signal @returns {Promise<Screen | null>} null: load it as a page */
async function fetchScreen(url, shell, signal) {
  const answer = await fetch(url, { headers: { "X-Maru-Part": "main" }, signal });
  if (!answer.ok) throw new Refused(answer.status);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const other = page.querySelector(".shell");
  const [here, there] = [document.documentElement, page.documentElement];
  const fits = there.dataset.build === here.dataset.build && there.lang === here.lang;
  if (!(other instanceof HTMLElement) || !fits || other.dataset.team !== shell.dataset.team) return null;
  if (other.querySelector(".sidebar") || addressOf(new URL(answer.url)) !== url) return null;
  await Promise.all([prepareActing(page), prepareForms(page)]);
  return screenOf(page, other, url);
}

/** @param {Document} page @param {HTMLElement} shell @param {string} url @returns {Screen} */
function screenOf(page, shell, url) {
  const parts = [...shell.children].filter((part) => !part.matches(".sidebar"));
  if (page !== document) for (const part of parts) document.adoptNode(part);
  const main = /** @type {HTMLElement} */ (parts.find((part) => part.matches(".main")));
  const aside = /** @type {HTMLElement | undefined} */ (parts.find((part) => part.matches(".aside")));
  return { url, title: page.title, data: { ...shell.dataset }, parts, main, aside: aside ?? null };
}

/** @param {{pathname: string, search: string}} address @returns {boolean} */
function isInstant({ pathname, search }) {
  return INSTANT.test(pathname) && !search;
}

/** @param {{pathname: string, search: string}} address @returns {string} */
function addressOf({ pathname, search }) {
  return pathname.replace(THREAD, "") + search;
}

/** @param {Element} row @param {string} url */
function showCurrent(row, url) {
  if (row.getAttribute("href") !== url) return row.removeAttribute("aria-current");
  row.setAttribute("aria-current", "page");
  row.scrollIntoView({ block: "nearest" });
}

/** Focuses the composer of a room, or the main column; a virtual keyboard must not open. @param {HTMLElement} main */
function focusOn(main) {
  const field = main.querySelector("#composer-text");
  const writes = field instanceof HTMLElement && field.offsetParent && matchMedia("(hover: hover)").matches;
  (writes ? field : main).focus({ preventScroll: true });
}
