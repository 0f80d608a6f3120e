// @ts-check
// Day lines, the grouping of what one person says in a row, and times in the reader's own zone.

import { clone, part } from "../elements.js";
import { clockTime, dayKey, dayName } from "../dates.js";
import { fill, gettext } from "../../maru/translations.js";

const TOGETHER_MS = 5 * 60_000;

/** @typedef {HTMLElement} Article */

/**
 * Lays out a run of messages, each against the one before it.
 * @param {Iterable<Article>} articles
 */
export function arrange(articles) {
  const language = document.documentElement.lang;
  for (const article of articles) {
    const at = timeOf(article);
    if (!at) continue;
    const words = clockTime(at, language);
    for (const time of article.querySelectorAll("[data-time]")) {
      if (time.textContent !== words) time.textContent = words;
    }
    const before = previous(article);
    const dayStarts = !before || dayKey(timeOf(before) ?? at) !== dayKey(at);
    setDayLine(article, dayStarts ? dayName(at, language) : "");
    const goesOn = !lineBefore(article) && before !== null && isSequel(before, article);
    article.toggleAttribute("data-continued", goesOn);
  }
}

/**
 * @param {Article} article the first that is unread
 * @param {Article | null} read the last that is not
 */
export function putUnreadLine(article, read) {
  const line = clone("unread");
  line.dataset.sinceRead = read?.dataset.at ?? "";
  article.before(line);
  sayUnread(line);
  arrange([article]);
}

/** Says since when, in the reader's own zone. @param {HTMLElement} line */
export function sayUnread(line) {
  const since = line.dataset.sinceRead;
  const time = since && clockTime(new Date(since), document.documentElement.lang);
  part(line, "span").textContent = time
    ? fill(gettext("New since %(time)s"), { time })
    : gettext("New messages");
}

/** @param {Article} article @returns {Article | null} */
function previous(article) {
  for (let node = article.previousElementSibling; node; node = node.previousElementSibling) {
    if (node instanceof HTMLElement && node.matches(".message[data-at]:not([data-at=''])")) return node;
  }
  return null;
}

/** @param {Article} article @returns {Date | null} */
function timeOf(article) {
  return article.dataset.at ? new Date(article.dataset.at) : null;
}

/** @param {Article} article @returns {boolean} whether a day line or the unread line stands before it */
function lineBefore(article) {
  return article.previousElementSibling?.matches(".timeline-day, .timeline-unread") ?? false;
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

/** @param {Article} before @param {Article} article */
function isSequel({ dataset: before }, { dataset: after }) {
  if (before.author !== "user" || after.author !== "user" || !after.authorId) return false;
  const gap = Date.parse(after.at ?? "") - Date.parse(before.at ?? "");
  return before.authorId === after.authorId && gap < TOGETHER_MS;
}
