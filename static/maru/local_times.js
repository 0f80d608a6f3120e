// @ts-check
// Times in the reader's own time zone. The server writes them in UTC and says so; only the browser
// knows where it is.

/** Rewrites every `time[data-local]` of the page. */
export function startTimes() {
  for (const time of document.querySelectorAll("time[data-local]")) {
    const moment = new Date(time.getAttribute("datetime") ?? "");
    if (Number.isNaN(moment.getTime())) continue;
    time.textContent = shortTime(moment);
    time.setAttribute("title", moment.toLocaleString(document.documentElement.lang));
  }
}

/**
 * @param {Date} moment
 * @param {Date} [now]
 * @returns {string} day and time, with the year where it is another one
 */
export function shortTime(moment, now = new Date()) {
  return new Intl.DateTimeFormat(document.documentElement.lang, {
    year: moment.getFullYear() === now.getFullYear() ? undefined : "numeric",
    month: "short",
    day: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).format(moment);
}
