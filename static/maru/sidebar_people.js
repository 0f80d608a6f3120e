// @ts-check
// The list of people in the sidebar: it is loaded when the reader opens it, in parts, and searched on
// the server.

import { showPresence } from "./sidebar.js";

const TYPING_MS = 250;

/** Loads people when the list is opened, or at once if the server has rendered it open. */
export function startPeople() {
  const section = document.querySelector("[data-people]");
  const words = section?.querySelector("[data-people-words]");
  if (!(section instanceof HTMLDetailsElement) || !(words instanceof HTMLInputElement)) return;
  words.hidden = false;
  const people = new People(section, words);
  section.addEventListener("toggle", () => section.open && people.load());
  if (section.open) people.load(); // it was open on the page before, or opened before this script
}

class People {
  /** @param {HTMLDetailsElement} section @param {HTMLInputElement} words */
  constructor(section, words) {
    this.address = section.dataset.people ?? "";
    this.words = words;
    this.list = /** @type {HTMLElement} */ (section.querySelector("[data-people-list]"));
    this.request = new AbortController();
    this.timer = 0;
    words.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load(), TYPING_MS);
    });
    this.list.addEventListener("click", (event) => {
      const more = /** @type {Element} */ (event.target).closest("[data-people-more]");
      if (more instanceof HTMLElement) this.load(more);
    });
  }

  /**
   * Shows the first people with the typed words, or adds the people after those shown.
   * @param {HTMLElement} [more] the button for further people, which they replace
   */
  async load(more) {
    this.request.abort(); // the answer to an older search must not replace that of a newer one
    this.request = new AbortController();
    const query = new URLSearchParams({ q: this.words.value, after: more?.dataset.peopleMore ?? "" });
    this.list.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`${this.address}?${query}`, { signal: this.request.signal });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const nodes = [...page.body.children];
      if (more) more.replaceWith(...nodes);
      else this.list.replaceChildren(...nodes);
      showPresence(this.list);
      this.list.removeAttribute("aria-busy");
    } catch {
      // Aborted by a newer search, or the server cannot be reached: the link to all members remains.
      if (!this.request.signal.aborted) this.list.removeAttribute("aria-busy");
    }
  }
}
