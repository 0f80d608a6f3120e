// @ts-check
// What waits for the reader: the link in the header of the room, the list in its panel, and the hand in the sidebar.

import { clone, part, setMark, setText } from "../elements.js";
import { callTitle } from "./call_words.js";
import { setItems } from "./sentences.js";
import { setRoomAsking } from "../../maru/sidebar.js";
import { fill, gettext, ngettext } from "../../maru/translations.js";

/** @typedef {import("./ask_state.js").Ask} Ask */
/** @typedef {import("../room_state.js").RoomState} RoomState */

export class WaitingList {
  /**
   * @param {HTMLElement} main
   * @param {HTMLElement} panel
   * @param {RoomState} state
   * @param {(ask: Ask) => void} open shows a card and focuses it
   */
  constructor(main, panel, state, open) {
    this.link = part(main, "[data-waiting-link]");
    this.section = part(panel, "[data-panel-waiting]");
    this.state = state;
    this.link.addEventListener("click", (event) => {
      const [first] = state.asks.mine;
      if (!first) return;
      event.preventDefault();
      open(first);
    });
    this.section.addEventListener("click", (event) => {
      const row = /** @type {Element} */ (event.target).closest("[data-waiting]");
      const ask = state.asks.mine.find((each) => each.ask.id === row?.getAttribute("data-waiting"));
      if (!ask || !(/** @type {Element} */ (event.target).closest("a"))) return;
      event.preventDefault();
      open(ask);
    });
  }

  show() {
    const { mine } = this.state.asks;
    this.showInSidebar();
    if (this.link.hidden && !mine.length) return;
    this.link.hidden = this.section.hidden = !mine.length;
    const words = ngettext("%(count)s decision waits", "%(count)s decisions wait", mine.length);
    setText(this.link, "[data-waiting-words]", fill(words, { count: mine.length }));
    if (mine[0]) this.link.setAttribute("href", addressOf(mine[0], this.state));
    setText(this.section, "[data-waiting-count]", String(mine.length));
    const items = mine.map((each) => ({ id: each.ask.id, item: each }));
    const list = part(this.section, "[data-waiting-list]");
    setItems(list, "data-waiting", items, () => clone("waiting"), (row, ask) => this.#setRow(row, ask));
  }

  /** Also while the room is not shown. */
  showInSidebar() {
    const { room, asks } = this.state;
    setRoomAsking(room.id, asks.mine.length > 0);
  }

  /** @param {HTMLElement} row @param {Ask} item */
  #setRow(row, item) {
    const { kind, ask } = item;
    const { personas, members, runs } = this.state;
    const persona = personas.get(ask.persona);
    const asker = members.get(runs.get(ask.run)?.requested_by ?? "")?.name ?? "";
    const { name = "", pigment = "meok", lattice = "gyeoksal" } = persona ?? {};
    setMark(row, { kind: "persona", id: ask.persona, name, handle: "", role: "", wood: "", pigment, lattice });
    setText(row, "[data-title]", kind === "approval" ? callTitle(ask) : ask.text);
    const words = gettext("%(persona)s, for %(name)s");
    setText(row, "[data-for]", asker ? fill(words, { persona: name, name: asker }) : name);
    part(row, "a").setAttribute("href", addressOf(item, this.state));
  }
}

/** @param {Ask} item @param {RoomState} state @returns {string} */
function addressOf({ ask }, { room }) {
  return `/rooms/${room.id}/messages/${ask.message}/`;
}
