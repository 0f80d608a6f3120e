// @ts-check
// Applies layout_rules.js to the page: day lines, the unread line, grouping, and local times.

import { clone, part } from "../elements.js";
import { clockTime, dayName } from "../dates.js";
import { continues, startsDay } from "./layout_rules.js";
import { fill, gettext } from "../../maru/translations.js";

/** @typedef {import("./layout_rules.js").LayoutRules} LayoutRules */
/** @typedef {import("./layout_rules.js").Placed} Placed */
/** @typedef {HTMLElement} Article */

/**
 * Lays out messages, each against the message before it. Call it also for the message that follows a
 * new or removed one.
 * @param {Iterable<Article>} articles
 * @param {LayoutRules} rules
 */
export function arrange(articles, rules) {
  const language = document.documentElement.lang;
  for (const article of articles) {
    const item = placedOf(article);
    if (!item) continue;
    const words = clockTime(item.at, language);
    for (const time of article.querySelectorAll("[data-time]")) {
      if (time.textContent !== words) time.textContent = words;
    }
    const before = previous(article);
    setDayLine(article, startsDay(before, item) ? dayName(item.at, language) : "");
    article.toggleAttribute("data-continued", !lineBefore(article) && continues(before, item, rules));
  }
}

/**
 * @param {Article} article the first unread message
 * @param {Article | null} lastRead the message before it
 * @param {LayoutRules} rules
 */
export function putUnreadLine(article, lastRead, rules) {
  const line = clone("unread");
  line.dataset.sinceRead = lastRead?.dataset.at ?? "";
  article.before(line);
  labelUnreadLine(line);
  arrange([article], rules);
}

/** Removes the unread line. @param {HTMLElement} timeline @param {LayoutRules} rules */
export function removeUnreadLine(timeline, rules) {
  const line = timeline.querySelector("[data-unread]");
  const below = line?.nextElementSibling;
  line?.remove();
  if (below instanceof HTMLElement && below.matches(".message")) arrange([below], rules);
}

/** Writes "New since 14:22" in the time zone of the browser. @param {HTMLElement} line */
export function labelUnreadLine(line) {
  const since = line.dataset.sinceRead;
  const time = since && clockTime(new Date(since), document.documentElement.lang);
  part(line, "span").textContent = time
    ? fill(gettext("New since %(time)s"), { time })
    : gettext("New messages");
}

/** @param {Article} article @returns {Placed | null} null for a queued run, which has no time yet */
function placedOf({ dataset: { at, author = "", authorId = "" } }) {
  return at ? { at: new Date(at), authorKind: author, authorId } : null;
}

/** @param {Article} article @returns {Placed | null} */
function previous(article) {
  for (let node = article.previousElementSibling; node; node = node.previousElementSibling) {
    if (node instanceof HTMLElement && node.matches(".message[data-at]:not([data-at=''])")) return placedOf(node);
  }
  return null;
}

/** @param {Article} article @returns {boolean} whether a day line or the unread line stands before it */
function lineBefore(article) {
  return article.previousElementSibling?.matches(".timeline-day, .timeline-unread, .timeline-earlier") ?? false;
}

/** @param {Article} article @param {string} name */
function setDayLine(article, name) {
  let place = article.previousElementSibling;
  const unread = place?.matches(".timeline-unread") ? place : null;
  if (unread) place = unread.previousElementSibling;
  const line = place?.matches(".timeline-day") ? place : null;
  if (!name) return line?.remove();
  const made = line ?? clone("day");
  if (made.textContent !== name) part(made, "span").textContent = name;
  if (!line) (unread ?? article).before(made);
}
