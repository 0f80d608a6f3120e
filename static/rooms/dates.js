// @ts-check
// Formats times in the language of the page and the time zone of the browser.

/** @param {string} language @returns {string} the locale; British English for the order day, month */
function localeOf(language) {
  return language.startsWith("en") ? "en-GB" : language;
}

const CLOCK = /** @type {const} */ ({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const DAY = /** @type {const} */ ({ weekday: "long", day: "numeric", month: "long" });
/** Making one takes longer than many uses. @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** @param {string} language @param {Intl.DateTimeFormatOptions} options @returns {Intl.DateTimeFormat} */
function formatOf(language, options) {
  const key = language + Object.keys(options).join();
  const format = formats.get(key) ?? new Intl.DateTimeFormat(localeOf(language), options);
  formats.set(key, format);
  return format;
}

/** @param {Date} moment @param {string} language @returns {string} "14:22" */
export function clockTime(moment, language) {
  return formatOf(language, CLOCK).format(moment);
}

/** @param {Date} moment @param {string} language @param {Date} [now] @returns {string} "Thursday 19 November" */
export function dayName(moment, language, now = new Date()) {
  const otherYear = moment.getFullYear() !== now.getFullYear();
  const format = formatOf(language, otherYear ? { ...DAY, year: "numeric" } : DAY);
  return format.format(moment).replace(/^(\w+),/u, "$1");
}

/** @param {Date} moment @param {string} language @returns {string} "21 November" */
export function dayOfMonth(moment, language) {
  return formatOf(language, { day: "numeric", month: "long" }).format(moment);
}

/** @param {Date} moment @returns {string} a key that two moments of one day share */
export function dayKey(moment) {
  return `${moment.getFullYear()}-${moment.getMonth() + 1}-${moment.getDate()}`;
}

/** @param {number} milliseconds @returns {string} "0:12", "12:03", "1:02:03" */
export function elapsed(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const end = String(s).padStart(2, "0");
  return h ? `${h}:${String(m).padStart(2, "0")}:${end}` : `${m}:${end}`;
}

/** Stores the time zone in a cookie; the server renders later pages in this time zone. */
export function keepZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  if (zone) document.cookie = `maru_zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}
