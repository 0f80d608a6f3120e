// @ts-check
// A press on a button that has just appeared or moved may have been meant for something else. Finds out when the cards
// of a timeline have moved; scrolling is not a movement.

const PAUSE_MS = 500;
const LOOK_MS = 100;
const CARDS = "[data-ask]:is([data-mine], [data-may-close])";

export class PressGuard {
  /** @type {WeakMap<Element, {top: number, place: number, at: number}>} */
  #seen = new WeakMap();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {HTMLElement} timeline @param {HTMLElement} box that scrolls @param {() => number} [now] */
  constructor(timeline, box, now = () => performance.now()) {
    this.timeline = timeline;
    this.box = box;
    this.now = now;
  }

  /** Looks at the cards, and again while there are any. Call it when the timeline has changed. */
  look() {
    const cards = this.timeline.isConnected ? this.timeline.querySelectorAll(CARDS) : [];
    for (const card of cards) this.#look(card);
    if (!cards.length) this.#timer = void clearInterval(this.#timer);
    else this.#timer ??= setInterval(() => this.look(), LOOK_MS);
  }

  /** The buttons of a card have moved inside it. @param {Element} card */
  touch(card) {
    this.#seen.delete(card);
    this.#look(card);
  }

  /** @param {Element} card @returns {boolean} whether its buttons may be pressed */
  allows(card) {
    this.#look(card);
    return this.now() - (this.#seen.get(card)?.at ?? 0) >= PAUSE_MS;
  }

  /** @param {Element} card */
  #look(card) {
    const { top } = card.getBoundingClientRect();
    const place = top + this.box.scrollTop;
    const seen = this.#seen.get(card);
    const hasMoved = !seen || (Math.abs(seen.top - top) > 1 && Math.abs(seen.place - place) > 1);
    this.#seen.set(card, { top, place, at: hasMoved ? this.now() : seen.at });
  }
}
