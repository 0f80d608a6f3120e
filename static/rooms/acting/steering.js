// @ts-check
// The lines by which members steer an answer; rooms/pages/acting/steering_lines.py renders the same.

import { clone, neededPart, part, setMark, setText, speakerOf } from "../elements.js";
import { setItems, setSentence, setSign } from "./sentences.js";
import { fill, gettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Steering} Steering */

const SIGNS = { accepted: "clock", applied: "check", failed: "alert" };

/** @param {HTMLElement} article @param {Steering[]} lines @param {RoomState} state */
export function setSteered(article, lines, state) {
  const list = neededPart(article, "steered", lines.length > 0, (made) => part(article, ".message-end").before(made));
  const items = lines.map((line) => ({ id: line.id, item: line }));
  if (list) setItems(list, "data-steering", items, () => clone("steering"), (row, line) => setLine(row, line, state));
}

/** @param {HTMLElement} row @param {Steering} line @param {RoomState} state */
function setLine(row, line, state) {
  row.dataset.state = line.state;
  setMark(row, speakerOf(state, { kind: "user", id: line.by, name: line.name, handle: "" }));
  setSentence(part(row, "[data-words]"), gettext("Steered by %(name)s: “%(text)s”"), { name: line.name, text: line.text });
  setSign(part(row, "[data-sign]"), SIGNS[line.state]);
  setText(row, "[data-state-words]", steeringWords(line));
}

/** @param {Steering} line @returns {string} what became of it */
export function steeringWords({ state, after }) {
  if (state === "accepted") return gettext("taken in at the next step");
  if (state === "failed") return gettext("the answer had ended");
  return after ? fill(gettext("applied after step %(number)s"), { number: after }) : gettext("applied");
}
