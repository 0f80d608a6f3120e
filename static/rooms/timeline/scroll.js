// @ts-check
// Keeps the scroll position: follows new messages if the reader is at the end; otherwise the visible messages do not move.

import { fill, gettext, ngettext } from "../../maru/translations.js";
import { part } from "../elements.js";

const NEAR_PX = 48;

export class Scroll {
  #atEnd = true;
  #missed = 0;

  /**
   * @param {HTMLElement} box that scrolls (column-reverse: scrollTop is 0 at the end and negative above)
   * @param {HTMLElement} newer the button that counts new messages
   * @param {{onMove: () => void, reachesEnd: () => boolean, toNewest: () => void}} callbacks `onMove` is called
   *   when the view has changed; `reachesEnd` returns whether the newest message is in the box
   */
  constructor(box, newer, { onMove, reachesEnd, toNewest }) {
    this.box = box;
    this.newer = newer;
    this.onMove = onMove;
    this.reachesEnd = reachesEnd;
    box.addEventListener("scroll", () => this.#onScroll(), { passive: true });
    newer.addEventListener("click", toNewest);
  }

  get atEnd() {
    return this.#atEnd;
  }

  /** Scrolls to the first unread message; null leaves the view at the end. @param {Element | null} place */
  begin(place) {
    if (!place) return this.#onScroll();
    const from = place.getBoundingClientRect().top - this.box.getBoundingClientRect().top;
    this.box.scrollTop += from - this.box.clientHeight / 4;
    this.#onScroll();
  }

  toEnd() {
    this.#atEnd = true;
    this.box.scrollTop = 0;
    this.#setMissed(0);
    this.onMove();
  }

  /**
   * Calls `change`, which adds content below, and keeps the scroll position.
   * @param {() => void} change
   * @param {number} [added] the number of added messages by others
   */
  keep(change, added = 0) {
    const stays = this.#atEnd ? undefined : this.#firstInView();
    const before = stays?.getBoundingClientRect().top ?? 0;
    change();
    this.#atEnd &&= this.reachesEnd(); // a jump has replaced the newest messages
    if (this.#atEnd) this.box.scrollTop = 0;
    else if (stays?.isConnected) this.box.scrollTop += stays.getBoundingClientRect().top - before;
    if (!this.#atEnd) this.#setMissed(this.#missed + added);
    this.onMove();
  }

  /** @param {HTMLElement[]} articles @returns {HTMLElement | undefined} the last message in view */
  lastSeen(articles) {
    const end = this.box.getBoundingClientRect().bottom;
    return articles.findLast((article) => article.getBoundingClientRect().top < end - 16);
  }

  /** @returns {Element | undefined} the first block of text in view, or the first message */
  #firstInView() {
    const top = this.box.getBoundingClientRect().top;
    const article = firstBelow(this.box.querySelectorAll(".message"), top);
    const blocks = article?.querySelector("[data-body]")?.children ?? [];
    return firstBelow(blocks, top) ?? article;
  }

  #onScroll() {
    this.#atEnd = this.box.scrollTop > -NEAR_PX && this.reachesEnd();
    this.#setMissed(this.#atEnd ? 0 : this.#missed);
    this.onMove();
  }

  /** @param {number} count */
  #setMissed(count) {
    this.#missed = count;
    this.newer.hidden = !count && this.reachesEnd();
    if (this.newer.hidden) return;
    const words = count ? fill(ngettext("%(count)s new", "%(count)s new", count), { count }) : gettext("Newest messages");
    part(this.newer, "[data-newer-words]").textContent = words;
  }
}

/**
 * @param {ArrayLike<Element>} elements one below the other
 * @param {number} top
 * @returns {Element | undefined} the first that ends below `top`
 */
function firstBelow(elements, top) {
  let [low, high] = [0, elements.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (elements[middle].getBoundingClientRect().bottom > top) high = middle;
    else low = middle + 1;
  }
  return elements[low];
}
