// @ts-check
// The name of a room for this reader. A direct room has no name of its own: it is named by its members.

import { fill, gettext } from "../maru/translations.js";

/** @typedef {import("./room_state.js").RoomState} RoomState */

/** @param {RoomState} state @returns {string} */
export function titleOf({ room, members, personas, me }) {
  if (!room.direct) return room.name;
  const people = [...members.values()].filter(({ user }) => user !== me);
  const names = [people, [...personas.values()]].flatMap((all) => all.map(({ name }) => name).sort(compare));
  return names.join(", ") || gettext("Only you");
}

/** @param {RoomState} state @returns {string} the words in the empty composer */
export function writeWords(state) {
  const name = titleOf(state);
  if (state.room.direct) return fill(gettext("Message %(name)s"), { name });
  // The sign # stands only before open rooms.
  if (state.room.privacy === "private") return fill(gettext("Write to %(name)s"), { name });
  return fill(gettext("Write to #%(name)s"), { name });
}

/** @param {string} one @param {string} other */
function compare(one, other) {
  return one.toLowerCase() < other.toLowerCase() ? -1 : 1;
}
