// @ts-check
// The panel next to the timeline, and the activity indicators in the sidebar.

import { clone, part, setMark, setText } from "./elements.js";
import { matches } from "./member_loader.js";
import { shownHandle } from "./namesakes.js";
import { NOWHERE, responders } from "./composer/responders.js";
import { setPersonaStatus, setRoomWorking } from "../maru/sidebar.js";
import { fill, gettext, ngettext } from "../maru/translations.js";

/** @typedef {import("./room_state.js").RoomState} RoomState */
/** @typedef {import("./member_loader.js").MemberLoader} MemberLoader */
/** @typedef {import("./protocol.js").Member} Member */
/** @typedef {import("./protocol.js").Persona} Persona */
/** @typedef {import("./protocol.js").Run} Run */

export class Panel {
  /**
   * @param {HTMLElement} panel
   * @param {RoomState} state
   * @param {Record<string, string>} roles the label of each role
   * @param {MemberLoader} loader
   */
  constructor(panel, state, roles, loader) {
    this.panel = panel;
    this.state = state;
    this.roles = roles;
    this.loader = loader;
    this.find = /** @type {HTMLInputElement} */ (part(panel, "[data-panel-find]"));
    this.find.addEventListener("input", () => {
      loader.find(this.#words);
      this.showPeople();
    });
    this.more = part(panel, "[data-panel-more]");
    this.more.addEventListener("click", () => loader.loadMore());
    this.#showSearch();
  }

  showPersonas() {
    const list = part(this.panel, "[data-panel-personas]");
    list.replaceChildren(...[...this.state.personas.values()].map((one) => this.#persona(one)));
    setText(this.panel, "[data-panel-persona-count]", String(this.state.personas.size));
    this.showWork();
  }

  showPeople() {
    const list = part(this.panel, "[data-panel-people]");
    const rank = (/** @type {Member} */ { role }) => (role === "owner" ? 0 : 1);
    const people = [...this.state.members.values()]
      .filter((one) => matches(one, this.#words))
      .sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
    list.replaceChildren(...people.map((one) => this.#person(one)));
    setText(this.panel, "[data-panel-person-count]", String(this.state.memberCount));
    this.#showSearch();
  }

  showPins() {
    const { pins, room } = this.state;
    const rows = pins.map(({ message, author, text }) => {
      const row = clone("panel-pin");
      const link = /** @type {HTMLAnchorElement} */ (part(row, "a"));
      link.dataset.messageId = message;
      link.href = `/rooms/${room.id}/messages/${message}/`;
      setText(row, "[data-name]", author.name);
      setText(row, "[data-text]", text);
      return row;
    });
    part(this.panel, "[data-panel-pins]").replaceChildren(...rows);
    setText(this.panel, "[data-panel-pin-count]", String(pins.length));
    part(this.panel, "[data-panel-pinned]").hidden = !pins.length;
  }

  /** The typed part of a name, in lower case. */
  get #words() {
    const words = this.state.membersComplete ? "" : this.find.value;
    return words.trim().replace(/^@/, "").normalize("NFKC").toLowerCase();
  }

  /** Shows the search and the button for more members in a large room. */
  #showSearch() {
    part(this.panel, "[data-panel-search]").hidden = this.state.membersComplete;
    this.more.hidden = this.state.membersComplete || Boolean(this.#words) || !this.loader.hasMore;
  }

  /** Shows which personas are answering or queued. */
  showWork() {
    const open = this.state.openRuns;
    const running = open.filter(({ state }) => state === "running");
    for (const persona of this.state.personas.values()) {
      const mine = open.filter((run) => run.persona === persona.id);
      this.#showWorkOf(persona, mine);
    }
    const first = this.state.personas.get(running[0]?.persona ?? "");
    setRoomWorking(this.state.room.id, running.length > 0, first?.pigment);
  }

  /** Adds an answer to the figures of today. @param {Run} run */
  count({ usage }) {
    const today = part(this.panel, "[data-today]");
    const tokens = usage ? usage.input_tokens + usage.output_tokens : 0;
    today.dataset.answers = String(Number(today.dataset.answers) + 1);
    today.dataset.tokens = String(Number(today.dataset.tokens) + tokens);
    this.showToday();
  }

  showToday() {
    const { answers, tokens } = part(this.panel, "[data-today]").dataset;
    const figure = (/** @type {string | undefined} */ n) =>
      Number(n).toLocaleString(document.documentElement.lang);
    setText(this.panel, "[data-today-answers]", figure(answers));
    setText(this.panel, "[data-today-tokens]", figure(tokens));
  }

  /** @param {Persona} persona @param {Run[]} runs that have not ended */
  #showWorkOf({ id }, runs) {
    const row = this.panel.querySelector(`[data-persona-id="${CSS.escape(id)}"]`);
    const started = runs.find(({ state }) => state === "running");
    const asking = this.#asked(runs);
    const queued = !started && !asking && runs.some(({ state }) => state === "queued");
    setPersonaStatus(id, { working: Boolean(started), asking: Boolean(asking), words: queued ? gettext("Queued") : "" });
    if (!row) return;
    part(row, "[data-asking]").hidden = Boolean(started) || !asking;
    setText(row, "[data-asking-words]", asking);
    part(row, "[data-work]").hidden = !started;
    part(row, "[data-queued]").hidden = !queued;
    const clock = part(row, "[data-elapsed]");
    if (started) clock.dataset.since = started.started_at ?? new Date().toISOString();
    else delete clock.dataset.since;
  }

  /** @param {Run[]} runs of a persona @returns {string} whom they ask, in words; "" for no person */
  #asked(runs) {
    const { asks } = this.state;
    const open = asks.open.filter(({ ask }) => runs.some(({ id }) => id === ask.run));
    if (open.some((each) => asks.isMine(each))) return gettext("you");
    const people = new Set(open.flatMap(({ ask }) => ask.asked_of)).size;
    return people ? fill(ngettext("%(count)s person", "%(count)s people", people), { count: people }) : "";
  }

  /** @param {Persona} persona */
  #persona(persona) {
    const row = clone("panel-persona");
    row.dataset.personaId = persona.id;
    row.dataset.pigment = persona.pigment;
    setMark(row, { kind: "persona", wood: "", ...persona });
    part(row, ".mark").dataset.state = persona.enabled ? "" : "off";
    setText(row, "[data-name]", persona.name);
    this.#link(row, "personaUrl", persona.id);
    setText(row, "[data-shown-handle]", shownHandle(this.state, persona));
    setText(row, "[data-when]", this.#when(persona));
    return row;
  }

  /** Returns which messages a persona answers; the same labels as in rooms/pages/answering.py. @param {Persona} persona */
  #when({ id, enabled }) {
    const { answer_policy: policy, default_persona: usual, muted_personas: muted = [] } = this.state.room;
    const { mode = "each", lead = null } = this.state.room;
    if (!enabled) return gettext("Switched off");
    if (policy === "off") return gettext("Only when chosen");
    if (muted.includes(id)) return gettext("Muted: answers when mentioned");
    const personas = [...this.state.personas.values()];
    const message = { mentioned: new Set(), named: null, mentions_first: false, in_turn: false, place: NOWHERE };
    const answers = responders(message, { policy, personas, default: usual, muted, mode, lead });
    const answersAll = answers.some(({ persona }) => persona === id);
    return answersAll ? gettext("Answers all") : gettext("When mentioned");
  }

  /**
   * Links the name in a row to the profile card.
   * @param {HTMLElement} row @param {"personUrl" | "personaUrl"} kind @param {string} id
   */
  #link(row, kind, id) {
    const { placeholder = "", [kind]: address = "" } = this.panel.dataset;
    part(row, "[data-card-link]").setAttribute("href", address.replace(placeholder, id));
  }

  /** @param {Member} member */
  #person({ user, name, handle, wood, role }) {
    const row = clone("panel-person");
    row.dataset.userId = user;
    const mark = { kind: /** @type {const} */ ("user"), id: user, role: "", pigment: "", lattice: "" };
    setMark(row, { ...mark, name, handle, wood });
    setText(row, "[data-name]", name);
    this.#link(row, "personUrl", user);
    setText(row, "[data-shown-handle]", shownHandle(this.state, { id: user, name, handle }));
    setText(row, "[data-role]", this.roles[role] ?? "");
    const here = this.state.online.has(user);
    part(row, ".presence").dataset.state = here ? "online" : "offline";
    setText(row, "[data-presence-words]", here ? gettext("online") : gettext("away"));
    return row;
  }
}

/**
 * Opens and closes the panel; without scripts the buttons are links that reload the page.
 * @param {HTMLElement} shell
 * @param {{main: HTMLElement, aside: HTMLElement | null}} screen
 * @param {AbortSignal} signal aborted when the screen will not be shown again
 */
export function startPanelToggle(shell, { main, aside }, signal) {
  const opener = part(main, "[data-panel-toggle]");
  const closer = part(/** @type {HTMLElement} */ (aside), "[data-panel-close]");
  const wide = matchMedia("(min-width: 1200px)");
  const isOpen = () => shell.dataset.aside === "open" || (shell.dataset.aside === "auto" && wide.matches);
  const show = () => opener.setAttribute("aria-expanded", String(isOpen()));
  const set = (/** @type {boolean} */ open) => {
    shell.dataset.aside = open ? "open" : "closed";
    show();
    if (open) closer.focus();
    else opener.focus();
  };
  opener.setAttribute("role", "button");
  opener.addEventListener("click", (event) => {
    event.preventDefault();
    set(!isOpen());
  });
  closer.addEventListener("click", (event) => {
    event.preventDefault();
    set(false);
  });
  wide.addEventListener("change", show, { signal });
  const onKey = (/** @type {KeyboardEvent} */ event) => {
    const covers = opener.isConnected && shell.dataset.aside === "open" && !wide.matches;
    if (event.key === "Escape" && covers && !event.defaultPrevented) set(false);
  };
  document.addEventListener("keydown", onKey, { signal });
  show();
}
