// @ts-check
// Who will answer what is being written: the room's rule, the mentions in the text, or a choice.

/** @typedef {import("../protocol.js").Persona} Persona */
/** @typedef {import("../protocol.js").Room} Room */

/** `usual` leaves it to the room, `nobody` asks nobody; anything else is the id of a persona.
 * @typedef {string} Choice */

/** @typedef {{
 *   room: Room, personas: Iterable<Persona>, people: Iterable<{handle: string}>,
 *   text: string, choice: Choice,
 * }} Question */

const MENTION = /(?<![\p{L}\p{N}_@/.])@([\p{L}\p{N}_][\p{L}\p{N}_.-]*)/gu;
// What Korean hangs onto a name; the same as in rooms/markup/links.py.
const PARTICLE =
  /^(?:님|씨)?(?:이랑|이나|이고|이야|이여|이|가|은|는|을|를|의|에게서|에게|에서|에|와|과|도|만|께서|께|한테|랑|하고|야|아|까지|부터|처럼|보다|으로|로)?[.-]*$/u;

/**
 * The handles that a text mentions.
 * @param {string} text
 * @param {Iterable<string>} handles
 * @returns {Set<string>} in lower case
 */
export function mentioned(text, handles) {
  const known = new Set([...handles].map((handle) => handle.toLowerCase()));
  const found = new Set();
  for (const [, word] of text.matchAll(MENTION)) {
    const handle = longestHandle(word.toLowerCase(), known);
    if (handle) found.add(handle);
  }
  return found;
}

/** @param {string} word @param {Set<string>} known @returns {string | undefined} */
function longestHandle(word, known) {
  const fitting = [...known].filter(
    (handle) => word.startsWith(handle) && PARTICLE.test(word.slice(handle.length)),
  );
  return fitting.sort((one, other) => other.length - one.length)[0];
}

/**
 * The personas that will answer, as the server will decide it.
 * @param {Question} question
 * @returns {Persona[]}
 */
export function answerers({ room, personas, people, text, choice }) {
  const bound = [...personas];
  if (choice === "nobody") return [];
  // People's handles, too: "@가람이" is 가람 only where nobody is called 가람이.
  const named = mentioned(text, [...bound, ...people].map(({ handle }) => handle));
  const mentions = bound.filter(({ handle }) => named.has(handle.toLowerCase()));
  const chosen = bound.filter(({ id }) => id === choice);
  if (chosen.length) return mentions.length ? mentions : chosen;
  if (room.answer_policy === "off") return [];
  if (mentions.length) return mentions;
  if (room.answer_policy !== "default") return [];
  const usual = bound.filter(({ id }) => id === room.default_persona);
  return usual.length ? usual : bound.filter(({ enabled }) => enabled).slice(0, 1);
}

/**
 * What to tell the server: null where the room's rule comes to the same.
 * @param {Question} question
 * @returns {string[] | null}
 */
export function personasToSend(question) {
  if (question.choice === "usual") return null;
  return answerers(question).map(({ id }) => id);
}
