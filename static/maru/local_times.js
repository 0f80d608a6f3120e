// @ts-check
// Shows times in the time zone of the browser. The server renders them in UTC.

/** Rewrites every `time[data-local]` in this part of the page. @param {ParentNode} root */
export function startLocalTimes(root) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    const moment = new Date(time.getAttribute("datetime") ?? "");
    if (Number.isNaN(moment.getTime())) continue;
    time.textContent = shortTime(moment);
    time.setAttribute("title", moment.toLocaleString(document.documentElement.lang));
  }
}

/**
 * @param {Date} moment
 * @param {Date} [now]
 * @returns {string} "14:22" today, else day and time; with the year if it is not the current year
 */
export function shortTime(moment, now = new Date()) {
  const { lang } = document.documentElement;
  const isToday = moment.toDateString() === now.toDateString();
  const year = moment.getFullYear() === now.getFullYear() ? undefined : /** @type {const} */ ("numeric");
  const day = /** @type {const} */ ({ year, month: "short", day: "numeric" });
  return new Intl.DateTimeFormat(lang.startsWith("en") ? "en-GB" : lang, {
    ...(isToday ? {} : day),
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).format(moment);
}
