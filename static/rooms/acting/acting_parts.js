// @ts-check
// The parts of a timeline that the bundle `acting` draws. The bundle is loaded when a message has such a part; the state
// never waits for it. What the server has rendered is shown at once, and presses on it are held until the bundle is there.

import { Bundle } from "../../maru/on_demand.js";
import { gettext } from "../../maru/translations.js";
import { PressGuard } from "./press_guard.js";

/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */

/** @typedef {{
 *   request: (command: Command) => Promise<any>, apply: (frame: Frame) => void, showError: (error: unknown) => void,
 *   tell: (sentence: string) => void,
 * }} Callbacks */

/** @type {Bundle<typeof import("./acting.js")>} */
const acting = new Bundle("acting", { hasStyles: true, hasParts: true });

const PARTS = "[data-asks], [data-round], [data-steered], .step";
const BUTTONS = "[data-ask] button, [data-round] button";

/** Loads the bundle before a part of a page is shown that the server has rendered. @param {ParentNode} place */
export async function prepareActing(place) {
  if (place.querySelector(PARTS)) await acting.load().catch(() => {});
}

export class ActingParts {
  /** Messages with parts that are not drawn yet. @type {Set<HTMLElement>} */
  #undrawn = new Set();
  /** @type {Callbacks | null} */
  #callbacks = null;
  /** Requests what cards need. @type {(() => void) | null} */
  #loadDetails = null;
  #isHolding = false;

  /** @param {TimelineView} view */
  constructor(view) {
    this.view = view;
    this.guard = new PressGuard(view.timeline, /** @type {HTMLElement} */ (view.timeline.closest("[data-scroll]")));
  }

  /** Makes the buttons work. @param {Callbacks} callbacks */
  begin(callbacks) {
    this.#callbacks = callbacks;
    this.view.timeline.addEventListener("click", (event) => this.#hold(event));
    this.look();
  }

  /** Draws the parts of a message, now or when the bundle is loaded. @param {HTMLElement} article */
  show(article) {
    this.#start();
    if (acting.module && !this.#undrawn.size) return acting.module.drawActing(article, this.view);
    if (!this.#has(article)) return;
    this.#undrawn.add(article);
    void this.settle();
  }

  /** Requests what cards need, and watches them. Call it when the asks of the room have changed. */
  look() {
    this.#start();
    this.#loadDetails?.();
    this.guard.look();
  }

  #start() {
    if (!acting.module || !this.#callbacks) return;
    this.#loadDetails ??= acting.module.startActing(this.view, this.guard, this.#callbacks);
  }

  /** Draws what is not drawn yet. After a failure, the next call tries again. @returns {Promise<boolean>} false: not loaded */
  async settle() {
    if (!this.#undrawn.size) return true;
    const module = await acting.load().catch(() => null);
    // The templates of a room that is not shown are not in the page.
    if (!module || !this.view.timeline.isConnected) return module !== null;
    const articles = [...this.#undrawn];
    this.#undrawn.clear();
    if (articles.length) this.view.keepPlace(() => articles.forEach((article) => module.drawActing(article, this.view)));
    this.look();
    return true;
  }

  /** Draws what is not drawn yet and makes its buttons work, or tells the reader that it cannot be loaded. */
  async ready() {
    const isReady = await acting.load().then(() => this.settle(), () => false);
    if (isReady) this.look();
    else this.#callbacks?.tell(gettext("This could not be loaded. Try again, or load the page again."));
    return isReady;
  }

  /** @param {HTMLElement} article @returns {boolean} whether it has, or should have, a part */
  #has(article) {
    const { state } = this.view;
    const [run, shown] = [article.dataset.runId ?? "", this.view.shownOf(article)];
    const { steps, steered, round } = shown ?? {};
    if (steps?.length || steered?.length || round || state.steps.get(run)?.length) return true;
    return state.asks.of(run).length > 0 || article.querySelector(PARTS) !== null;
  }

  /** Holds a press until the bundle is loaded, and repeats it then. @param {MouseEvent} event */
  async #hold(event) {
    const button = /** @type {Element} */ (event.target).closest(BUTTONS);
    if (acting.module || !(button instanceof HTMLButtonElement)) return;
    event.preventDefault(); // else the button would submit its form
    const card = button.closest("[data-ask]");
    if (this.#isHolding || (card && !this.guard.allows(card))) return;
    this.#isHolding = true;
    const isReady = await this.ready();
    this.#isHolding = false;
    if (isReady) button.click();
  }
}
