// @ts-check
// Which of the loaded messages have elements: those near the view. Scrolling renders more on one side and
// removes others on the other side, and loads more history when the loaded messages end.

import { arrange, putUnreadLine } from "../timeline/layout.js";

/** @typedef {import("./history.js").History} History */
/** @typedef {import("../timeline/scroll.js").Scroll} Scroll */
/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {"before" | "after"} Side */

// The messages that are rendered at once; fewer if they have many elements.
const STEP = 8;
const STEP_ELEMENTS = 300;
// The last messages of a new page, which fill the view and more.
const NEWEST = 24;
// The rendered messages beyond the view, as a part of its height.
const BEYOND = 0.5;
// While the page has more elements, messages further away than this part of the height of the view are removed.
const LIMITS = [
  { elements: 900, beyond: 1 },
  { elements: 1_200, beyond: BEYOND },
];
const LINES = ".timeline-day, .timeline-unread";

/**
 * Removes all but the last messages that the server has rendered, before they are laid out. The first unread
 * message, a linked message and all behind them stay.
 * @param {HTMLElement} timeline
 * @param {string | undefined} linked the id of a message
 */
export function keepNewest(timeline, linked) {
  const all = [...timeline.querySelectorAll(".message")];
  const target = all.findIndex(({ id }) => id === `message-${linked}`);
  const unread = all.findIndex((article) => article.previousElementSibling?.matches("[data-unread]"));
  const needed = [target, unread, all.length - NEWEST].filter((at) => at >= 0);
  const first = all[Math.min(...needed) - 1];
  for (let node = first?.previousElementSibling; node; node = first.previousElementSibling) {
    if (node.matches(`.message, ${LINES}`)) node.remove();
    else break;
  }
}

export class TimelineWindow {
  #settling = false;
  /** The message after the unread line, while the line has no element. @type {string | null} */
  #unread = null;
  /** A side whose history could not be loaded; its button loads it again. @type {Side | null} */
  #failed = null;

  /** @param {TimelineView} view @param {Scroll} scroll @param {History} history */
  constructor(view, scroll, history) {
    this.view = view;
    this.scroll = scroll;
    this.history = history;
    this.state = view.state;
    this.link = view.timeline.querySelector("[data-earlier]");
    this.link?.addEventListener("click", (event) => this.#onLink(/** @type {MouseEvent} */ (event)));
  }

  /** @returns {boolean} whether the last element is the room's newest message */
  get reachesEnd() {
    return !this.state.loaded.hasLater && !this.#idsAfter().length;
  }

  /** Renders and removes messages for the current view. */
  settle() {
    if (this.#settling || !this.view.timeline.isConnected) return;
    this.#settling = true;
    this.#fill("before");
    this.#fill("after");
    for (const limit of LIMITS) this.#trim(limit);
    this.#settling = false;
    this.#showLink();
  }

  /** Loads again what could not be loaded. */
  retry() {
    this.#failed = null;
    this.settle();
  }

  /** Renders the messages around one of them, or the newest, instead of those in the page. @param {string | null} id */
  showAround(id) {
    const ids = [...this.state.messages.keys()];
    const at = id ? ids.indexOf(id) : ids.length;
    for (const article of this.view.articles) this.view.remove(article);
    this.#removeLines(() => true);
    this.#add("after", ids.slice(Math.max(0, at - STEP), at + STEP));
  }

  /** @param {Side} side */
  #fill(side) {
    for (let rest = 20; rest && this.#distance(side) < BEYOND * this.scroll.box.clientHeight; rest -= 1) {
      const ids = this.#next(side);
      if (!ids.length) return void this.#load(side);
      this.scroll.keep(() => this.#add(side, ids));
      for (const limit of LIMITS) this.#trim(limit);
    }
  }

  /** @param {Side} side @returns {string[]} the messages that are rendered next; none at the end of what is loaded */
  #next(side) {
    const ids = side === "before" ? this.#idsBefore().slice(-STEP).reverse() : this.#idsAfter().slice(0, STEP);
    let rest = STEP_ELEMENTS;
    const next = ids.filter((id, at) => (rest -= elementsOf(this.state.messages.get(id))) > 0 || at === 0);
    return side === "before" ? next.reverse() : next;
  }

  /** @param {Side} side */
  async #load(side) {
    const { complete, hasLater } = this.state.loaded;
    if ((side === "before" ? complete : !hasLater) || this.#failed === side) return;
    const loaded = await this.history.continue(side);
    this.#failed = loaded ? null : side;
    if (loaded) this.settle();
    else this.#showLink();
  }

  /** Removes messages that are far from the view, while there are too many elements. @param {typeof LIMITS[0]} limit */
  #trim({ elements, beyond }) {
    const all = document.getElementsByTagName("*");
    for (let rest = 10; rest && all.length > elements; rest -= 1) {
      const side = this.#distance("before") > this.#distance("after") ? "before" : "after";
      const removed = this.#farOnes(side, beyond);
      if (!removed.length) return;
      this.scroll.keep(() => this.#drop(side, removed));
    }
  }

  /** @param {Side} side @param {number} beyond @returns {HTMLElement[]} the outermost messages, if they are far from the view and not in use */
  #farOnes(side, beyond) {
    const view = this.scroll.box.getBoundingClientRect();
    const { articles } = this.view;
    const outer = side === "before" ? articles.slice(0, STEP) : articles.slice(-STEP).reverse();
    const end = outer.findIndex((article) => {
      const { top, bottom } = article.getBoundingClientRect();
      const distance = side === "before" ? view.top - bottom : top - view.bottom;
      return distance < beyond * view.height || article.matches(":has(:focus, [data-editor]), :focus");
    });
    return end < 0 ? outer : outer.slice(0, end);
  }

  /** @param {Side} side @param {HTMLElement[]} articles */
  #drop(side, articles) {
    for (const article of articles) this.view.remove(article);
    this.#removeLines((line) => (side === "before" ? line.matches(":not(.message ~ *)") : isLast(line)));
    arrange(this.view.articles.slice(0, 1), this.state.rules);
  }

  /** @param {(line: Element) => boolean} isUnneeded */
  #removeLines(isUnneeded) {
    for (const line of [...this.view.timeline.querySelectorAll(LINES)].filter(isUnneeded)) {
      const next = line.nextElementSibling;
      if (line.matches("[data-unread]")) this.#unread = next?.id.replace("message-", "") ?? this.#unread;
      line.remove();
    }
  }

  /** @param {Side} side @param {string[]} ids */
  #add(side, ids) {
    this.view.add(side, ids);
    if (!this.#unread || !ids.includes(this.#unread)) return;
    const { articles } = this.view;
    const at = articles.findIndex(({ id }) => id === `message-${this.#unread}`);
    putUnreadLine(articles[at], articles[at - 1] ?? null, this.state.rules);
    this.#unread = null;
  }

  /** The distance of the view from the end of the elements. @param {Side} side @returns {number} pixels */
  #distance(side) {
    const { scrollHeight, clientHeight, scrollTop } = this.scroll.box; // column-reverse: 0 at the end
    return side === "before" ? scrollHeight - clientHeight + scrollTop : -scrollTop;
  }

  /** @returns {string[]} the loaded messages before the first element */
  #idsBefore() {
    const ids = [...this.state.messages.keys()];
    const first = this.view.messages[0];
    return first ? ids.slice(0, ids.indexOf(first)) : ids;
  }

  /** @returns {string[]} the loaded messages after the last element */
  #idsAfter() {
    const ids = [...this.state.messages.keys()];
    const last = this.view.messages.at(-1);
    return last ? ids.slice(ids.indexOf(last) + 1) : [];
  }

  /** The link to earlier messages is needed only if scrolling could not load them. */
  #showLink() {
    const isNeeded = this.#failed === "before" && !this.state.loaded.complete;
    if (this.link instanceof HTMLElement && this.link.hidden === isNeeded) {
      this.scroll.keep(() => /** @type {HTMLElement} */ (this.link).toggleAttribute("hidden", !isNeeded));
    }
  }

  /** @param {MouseEvent} event */
  #onLink(event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.retry();
  }
}

/** @param {Message | undefined} message @returns {number} about how many elements it gets */
function elementsOf(message) {
  return (message?.author.kind === "persona" ? 50 : 15) + (message?.html.split("<").length ?? 0) / 2;
}

/** @param {Element} line @returns {boolean} whether no message follows */
function isLast(line) {
  for (let next = line.nextElementSibling; next; next = next.nextElementSibling) if (next.matches(".message")) return false;
  return true;
}
