// @ts-check
// A finder as a combobox (WAI-ARIA Authoring Practices, "Combobox"): suggests what the server finds while
// words are typed, and ticks what is picked. Without this module, the finder's button sends the form.

import { icon as drawing, personaMark, personMark } from "../avatars.js";
import { nextIndex } from "../menu.js";
import { fill, gettext, ngettext } from "../translations.js";

/** @typedef {{id: string, name: string, note: string, wood?: string, pigment?: string, lattice?: string, icon?: string}} Found */

const PAUSE_MS = 200;

/** Enables the finders in this part of the page. @param {ParentNode} root */
export function startFinders(root) {
  for (const place of root.querySelectorAll("[data-finder]")) {
    const field = place.querySelector("[data-finder-words]");
    if (place instanceof HTMLElement && field instanceof HTMLInputElement) startFinder(place, field);
  }
}

/** @param {HTMLElement} place @param {HTMLInputElement} field */
function startFinder(place, field) {
  const list = listFor(place, field);
  /** @type {Found[]} */
  let found = [];
  let active = -1;
  let timer = 0;
  let request = new AbortController();

  const close = () => {
    list.hidden = true;
    active = -1;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  };
  const activate = (/** @type {number} */ index) => {
    active = index;
    [...list.children].forEach((option, at) => {
      option.setAttribute("aria-selected", String(at === index));
      if (at === index) option.scrollIntoView({ block: "nearest" });
    });
    field.setAttribute("aria-activedescendant", `${list.id}-${index}`);
  };
  const pick = (/** @type {number} */ index) => {
    const choice = found[index];
    tick(place, choice);
    field.value = "";
    close();
    say(place, fill(gettext("%(name)s is chosen."), { name: choice.name }));
  };
  const search = async () => {
    request.abort();
    request = new AbortController();
    const words = field.value.trim();
    if (!words) return close();
    const answer = await ask(place.dataset.url ?? "", words, request.signal);
    if (answer === null) return;
    found = answer;
    list.replaceChildren(...found.map((choice, index) => option(choice, `${list.id}-${index}`)));
    list.hidden = !found.length;
    field.setAttribute("aria-expanded", String(found.length > 0));
    say(place, sentence(found.length));
    if (found.length) activate(0);
    else close();
  };

  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE_MS);
  });
  field.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter") {
      event.preventDefault(); // the form must not be sent with half of a name
      if (active >= 0) pick(active);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (event.key.startsWith("Arrow") && !list.hidden) {
      const to = nextIndex(event.key, active, found.length);
      if (to === null) return;
      event.preventDefault();
      activate(to);
    }
  });
  field.addEventListener("blur", close);
  // A press on an option must not take the focus from the field.
  list.addEventListener("pointerdown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const chosen = /** @type {Element} */ (event.target).closest("[role=option]");
    if (chosen) pick([...list.children].indexOf(chosen));
  });
}

/** Makes the field a combobox with an empty list. @param {HTMLElement} place @param {HTMLInputElement} field */
function listFor(place, field) {
  place.querySelector("[data-finder-button]")?.remove();
  const list = document.createElement("div");
  list.className = "options";
  list.id = `finder-${place.dataset.name}`;
  list.hidden = true;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", field.getAttribute("aria-label") ?? "");
  field.after(list);
  field.setAttribute("role", "combobox");
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", list.id);
  field.setAttribute("aria-expanded", "false");
  return list;
}

/**
 * @param {string} url
 * @param {string} words
 * @param {AbortSignal} signal
 * @returns {Promise<Found[] | null>} what matches; null if a later request has replaced this one
 */
async function ask(url, words, signal) {
  try {
    const response = await fetch(`${url}?q=${encodeURIComponent(words)}`, { signal });
    return response.ok ? (await response.json()).items : [];
  } catch {
    return signal.aborted ? null : [];
  }
}

/** Ticks the box of a choice; adds its row if the page does not have it. @param {HTMLElement} place @param {Found} choice */
function tick(place, choice) {
  const rows = place.querySelector("[data-finder-choices]");
  const boxes = [...(rows?.querySelectorAll("input") ?? [])];
  let box = boxes.find(({ value }) => value === choice.id);
  if (!box) {
    box = boxOf(place, choice.id);
    const row = document.createElement("label");
    row.className = "pick";
    row.append(mark(choice), words(choice, "list"), box);
    rows?.append(row);
  }
  box.checked = true;
  box.dispatchEvent(new Event("change", { bubbles: true }));
}

/** @param {HTMLElement} place @param {string} value */
function boxOf(place, value) {
  const box = document.createElement("input");
  const single = place.dataset.single !== undefined;
  box.type = single ? "radio" : "checkbox";
  if (!single) box.className = "toggle";
  box.name = place.dataset.name ?? "";
  box.value = value;
  return box;
}

/** @param {Found} choice @param {string} id */
function option(choice, id) {
  const row = document.createElement("div");
  row.className = "option";
  row.id = id;
  row.setAttribute("role", "option");
  row.append(mark(choice), words(choice, "finder"));
  return row;
}

/** @param {Found} choice */
function mark({ name, wood, pigment = "", lattice = "", icon = "" }) {
  if (icon) return drawing(icon);
  return pigment ? personaMark({ pigment, lattice }) : personMark({ name, wood });
}

/** @param {Found} choice @param {string} part the first word of the classes */
function words({ name, note }, part) {
  const both = document.createElement("span");
  both.className = `${part}-words`;
  for (const [kind, text] of [
    ["name", name],
    ["note", note],
  ]) {
    const line = document.createElement("span");
    line.className = `${part}-${kind}`;
    const isolated = document.createElement("bdi");
    isolated.textContent = text;
    line.append(isolated);
    both.append(line);
  }
  return both;
}

/** @param {number} count */
function sentence(count) {
  if (!count) return gettext("Nothing matches.");
  return fill(ngettext("%(count)s found", "%(count)s found", count), { count });
}

/** @param {HTMLElement} place @param {string} text */
function say(place, text) {
  const status = place.querySelector("[data-finder-status]");
  if (status) status.textContent = text;
}
