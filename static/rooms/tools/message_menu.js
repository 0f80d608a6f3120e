// @ts-check
// The menu of further actions for a message: copy its link, pin it, mark it as unread, show its prompt. The timelines of
// a room and of its threads share one menu.

import { copyText } from "../timeline/copy_buttons.js";
import { part } from "../elements.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../protocol.js").Message} Message */

/** The message whose menu is open. A timeline without `markUnread` has no item for it.
 * @typedef {{article: HTMLElement, view: TimelineView, markUnread?: (message: Message) => Promise<void>}} Opened */

export class MessageMenu {
  /** @type {Opened | null} */
  #opened = null;

  /**
   * @param {HTMLElement} menu
   * @param {{
   *   request: (command: Command) => Promise<any>,
   *   showError: (error: unknown) => void,
   *   tell: (sentence: string) => void,
   * }} callbacks
   */
  constructor(menu, callbacks) {
    this.menu = menu;
    this.sent = /** @type {HTMLAnchorElement} */ (part(menu, "[data-sent]"));
    this.sentAddress = this.sent.getAttribute("href") ?? "";
    this.callbacks = callbacks;
    menu.addEventListener("click", (event) => void this.#onClick(event));
  }

  /** Enables the buttons of a timeline that open the menu. @param {TimelineView} view @param {Opened["markUnread"]} [markUnread] */
  serve(view, markUnread) {
    view.timeline.addEventListener("click", (event) => {
      const button = /** @type {Element} */ (event.target).closest("[data-more]");
      const article = button?.closest(".message");
      if (!button || !(article instanceof HTMLElement)) return;
      this.#opened = { article, view, markUnread };
      // The browser opens the menu after this handler, because the clicked button names it. Only one
      // button names it: menu.js positions the menu next to that button.
      for (const other of document.querySelectorAll("[data-more][popovertarget]")) {
        if (other !== button) other.removeAttribute("popovertarget");
      }
      button.setAttribute("popovertarget", this.menu.id);
      this.#showItems(this.#opened);
    });
  }

  /** Shows the items that the reader may use. @param {Opened} opened */
  #showItems({ article, view, markUnread }) {
    const message = view.messageOf(article);
    const mayPin = message !== null && view.state.mayReact(message);
    part(this.menu, "[data-act=pin]").hidden = !mayPin || Boolean(message?.pinned);
    part(this.menu, "[data-act=unpin]").hidden = !mayPin || !message?.pinned;
    part(this.menu, "[data-act=unread]").hidden = !markUnread;
    const { editable = "", placeholder = "" } = this.sent.dataset;
    this.sent.hidden = !message?.run || !editable.split(" ").includes(message.author.id ?? "");
    if (message?.run) this.sent.href = this.sentAddress.replace(placeholder, message.run);
  }

  /** @param {MouseEvent} event */
  async #onClick(event) {
    const item = /** @type {Element} */ (event.target).closest("[data-act]");
    const message = this.#opened && this.#opened.view.messageOf(this.#opened.article);
    if (!(item instanceof HTMLElement) || !this.#opened || !message) return;
    this.menu.hidePopover();
    try {
      await this.#act(item.dataset.act ?? "", this.#opened, message);
    } catch (error) {
      this.callbacks.showError(error);
    }
  }

  /** @param {string} name @param {Opened} opened @param {Message} message */
  async #act(name, { article, markUnread }, message) {
    if (name === "link") {
      const address = /** @type {HTMLAnchorElement} */ (part(article, ".message-time")).href;
      if (await copyText(address)) this.callbacks.tell(gettext("The link was copied."));
    } else if (name === "unread") {
      await markUnread?.(message);
    } else {
      await this.callbacks.request({ type: "message.pin", message: message.id, on: name === "pin" });
    }
  }
}
