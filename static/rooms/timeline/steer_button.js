// @ts-check
// The button that lets a member steer a running answer.

import { neededPart, part } from "../elements.js";
import { fill, gettext } from "../../maru/translations.js";

/** @typedef {import("../protocol.js").Run} Run */
/** @typedef {import("./timeline_view.js").TimelineView} TimelineView */

/** Adds the button Steer to a running answer, or removes it. @param {HTMLElement} article @param {boolean} maySteer */
export function setSteerButton(article, maySteer) {
  const elapsed = article.querySelector("[data-elapsed]"); // it stays beside Stop while the button is transparent
  const button = elapsed && neededPart(article, "steer", maySteer, (made) => elapsed.before(made));
  const name = part(article, "[data-name]").textContent ?? "";
  button?.setAttribute("aria-label", fill(gettext("Steer %(name)s's answer"), { name }));
}

/**
 * @param {TimelineView} view
 * @param {(run: Run, name: string) => void} steer lets the composer write to an answer
 */
export function startSteering(view, steer) {
  view.timeline.addEventListener("click", (event) => {
    const article = /** @type {Element} */ (event.target).closest("[data-steer]")?.closest(".message");
    const run = article instanceof HTMLElement ? view.runOf(article) : undefined;
    if (run && article) steer(run, part(article, "[data-name]").textContent ?? "");
  });
}
