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
 * @returns {string} day and time; with the year if it is not the current year
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
