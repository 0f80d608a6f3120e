// @ts-check
// Which names of a room can be confused; the page shows the handle beside them. The same rule as in
// rooms/pages/namesakes.py; the table of letters comes from the server.

/** @typedef {import("./room_state.js").RoomState} RoomState */

const LETTER = /[\p{L}\p{N}]/u;
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/u;

/** @type {Map<string, string>} */
let lookAlikes = new Map();
/** @type {Map<string, string>} */
const keys = new Map();

/** @param {Record<string, string>} table letters and the letters that they look like */
export function setLookAlikes(table) {
  lookAlikes = new Map(Object.entries(table));
  keys.clear();
}

/** @param {string} name @returns {string} equal for names that readers can confuse */
export function lookAlikeKey(name) {
  const known = keys.get(name);
  if (known !== undefined) return known;
  const plain = name.normalize("NFKC").toLowerCase().normalize("NFKD");
  const letters = [...plain].filter((one) => LETTER.test(one) && !INVISIBLE.test(one));
  const key = letters.map((one) => lookAlikes.get(one) ?? one).join("").replaceAll("rn", "m");
  keys.set(name, key);
  return key;
}

/**
 * @param {Pick<RoomState, "members" | "membersComplete" | "personas">} state
 * @param {{id: string | null, name: string, handle: string}} author
 * @returns {string} `@handle` if another member or persona has a name like the author's, or may have one because the
 *   author is not among the known members of a large room; else nothing
 */
export function shownHandle({ members, membersComplete, personas }, { id, name, handle }) {
  if (!handle) return "";
  if (!membersComplete && !members.has(id ?? "") && !personas.has(id ?? "")) return `@${handle}`;
  const key = lookAlikeKey(name);
  const isAlike = (/** @type {string} */ otherId, /** @type {string} */ other) =>
    otherId !== id && lookAlikeKey(other) === key;
  for (const member of members.values()) if (isAlike(member.user, member.name)) return `@${handle}`;
  for (const persona of personas.values()) if (isAlike(persona.id, persona.name)) return `@${handle}`;
  return "";
}
