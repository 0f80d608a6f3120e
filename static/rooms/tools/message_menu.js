// @ts-check
// The menu of further actions for a message: copy its link, pin it, mark it as unread.

import { copyText } from "../timeline/copy_buttons.js";
import { part } from "../elements.js";
import { gettext } from "../../maru/translations.js";

/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../protocol.js").Message} Message */

/**
 * @param {HTMLElement} menu
 * @param {HTMLElement} timeline
 * @param {TimelineView} view
 * @param {{
 *   request: (command: Command) => Promise<any>,
 *   showError: (error: unknown) => void,
 *   tell: (sentence: string) => void,
 *   markUnread: (message: Message) => Promise<void>,
 * }} callbacks
 */
export function startMessageMenu(menu, timeline, view, { request, showError, tell, markUnread }) {
  /** @type {HTMLElement | null} */
  let article = null;

  timeline.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-more]");
    const found = button?.closest(".message");
    if (!button || !(found instanceof HTMLElement)) return;
    article = found;
    // The browser opens the menu after this handler, because the clicked button names it. Only one
    // button names it: menu.js positions the menu next to that button.
    for (const other of timeline.querySelectorAll("[data-more][popovertarget]")) {
      if (other !== button) other.removeAttribute("popovertarget");
    }
    button.setAttribute("popovertarget", menu.id);
    showItems(menu, view, found);
  });

  menu.addEventListener("click", async (event) => {
    const item = /** @type {Element} */ (event.target).closest("[data-act]");
    const message = article && view.messageOf(article);
    if (!(item instanceof HTMLElement) || !article || !message) return;
    menu.hidePopover();
    try {
      await act(item.dataset.act ?? "", article, message);
    } catch (error) {
      showError(error);
    }
  });

  /** @param {string} name @param {HTMLElement} of @param {Message} message */
  async function act(name, of, message) {
    if (name === "link") {
      const address = /** @type {HTMLAnchorElement} */ (part(of, ".message-time")).href;
      if (await copyText(address)) tell(gettext("The link was copied."));
    } else if (name === "unread") {
      await markUnread(message);
    } else {
      await request({ type: "message.pin", message: message.id, on: name === "pin" });
    }
  }
}

/** Shows the items that the reader may use. @param {HTMLElement} menu @param {TimelineView} view
 * @param {HTMLElement} article */
function showItems(menu, view, article) {
  const message = view.messageOf(article);
  const mayPin = message !== null && view.state.mayReact(message);
  part(menu, "[data-act=pin]").hidden = !mayPin || Boolean(message?.pinned);
  part(menu, "[data-act=unpin]").hidden = !mayPin || !message?.pinned;
}
