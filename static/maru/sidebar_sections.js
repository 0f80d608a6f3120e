// @ts-check
// The foldable sections of the sidebar. A cookie names the sections that are not as they are by default,
// so that the server renders the next page as the reader has left this one.

import { waitingIn } from "./sidebar_rooms.js";
import { fill, ngettext } from "./translations.js";

const COOKIE = "maru_sections";
const YEAR_SECONDS = 31_536_000;
/** The section that is folded by default: its people are loaded when it is opened. */
const FOLDED = "people";

/** Keeps what the reader folds. */
export function startSections() {
  // `toggle` does not bubble.
  document.addEventListener("toggle", (event) => {
    const section = event.target;
    if (section instanceof HTMLDetailsElement && section.dataset.section) keep(section.dataset.section, section.open);
  }, true);
}

/** Scrolls the row of the page into view. Call this after all parts of the sidebar have their height. */
export function showCurrentRow() {
  document.querySelector(".sidebar [aria-current=page]")?.scrollIntoView({ block: "nearest" });
}

/** @param {string} section @param {boolean} open */
function keep(section, open) {
  const changed = new Set(read());
  if (open === (section !== FOLDED)) changed.delete(section);
  else changed.add(section);
  const secure = location.protocol === "https:" ? "; Secure" : "";
  const value = [...changed].join(".");
  document.cookie = `${COOKIE}=${value}; Path=/; Max-Age=${YEAR_SECONDS}; SameSite=Lax${secure}`;
}

/** @returns {string[]} */
function read() {
  const found = document.cookie.split("; ").find((each) => each.startsWith(`${COOKIE}=`));
  return found ? found.slice(COOKIE.length + 1).split(".").filter(Boolean) : [];
}

/** @param {{unread: number, mentions: number}} counts @returns {string} "2 unread", or the mentions if there are some */
export function countWords({ unread, mentions }) {
  return mentions
    ? fill(ngettext("%(count)s mention", "%(count)s mentions", mentions), { count: mentions })
    : fill(ngettext("%(count)s unread", "%(count)s unread", unread), { count: unread });
}

/** Shows the sums of the unread messages of the sections. */
export function showSums() {
  for (const section of document.querySelectorAll(/** @type {"details"} */ ("[data-section]"))) showSum(section);
}

/** @param {HTMLElement} section */
function showSum(section) {
  const place = section.querySelector("[data-section-count]");
  if (!(place instanceof HTMLElement)) return;
  const rows = /** @type {HTMLElement[]} */ ([...section.querySelectorAll("a.row")]);
  const rooms = [
    ...rows
      .filter(({ dataset }) => dataset.state !== "muted")
      .map(({ dataset }) => ({ unread: dataset.new, mentions: dataset.mentions })),
    ...waitingIn(section.dataset.section).filter(({ icon }) => icon !== "bell-off"),
  ];
  const sum = (/** @type {"unread" | "mentions"} */ what) =>
    rooms.reduce((total, room) => total + Number(room[what] ?? 0), 0);
  const [unread, mentions] = [sum("unread"), sum("mentions")];
  place.hidden = !(unread || mentions);
  place.dataset.state = mentions ? "mentioned" : "";
  const [figure, words] = ["[data-sum-figure]", "[data-sum-words]"].map((name) => place.querySelector(name));
  if (figure) figure.textContent = String(mentions || unread);
  if (words) words.textContent = countWords({ unread, mentions });
}
