// @ts-check
// Predicts which personas will answer a text: by mentions, the writer's choice, or the answer policy.

/** @typedef {import("../protocol.js").Persona} Persona */
/** @typedef {import("../protocol.js").Room} Room */

/** `usual`: the room's answer policy decides. `none`: no persona answers. Otherwise the id of a persona.
 * @typedef {string} Choice */

/** @typedef {{
 *   room: Room, personas: Iterable<Persona>, people: Iterable<{handle: string}>,
 *   text: string, choice: Choice,
 * }} Question */

const MENTION = /(?<![\p{L}\p{N}_@/.])@([\p{L}\p{N}_][\p{L}\p{N}_.-]*)/gu;
// Korean particles that may follow a name; the same as in rooms/markup/links.py.
const PARTICLE =
  /^(?:님|씨)?(?:이랑|이나|이고|이야|이여|이|가|은|는|을|를|의|에게서|에게|에서|에|와|과|도|만|께서|께|한테|랑|하고|야|아|까지|부터|처럼|보다|으로|로)?[.-]*$/u;

/**
 * Returns the handles that a text mentions.
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
  const matching = [...known].filter(
    (handle) => word.startsWith(handle) && PARTICLE.test(word.slice(handle.length)),
  );
  return matching.sort((one, other) => other.length - one.length)[0];
}

/**
 * Returns the personas that will answer; the same rules as on the server.
 * @param {Question} question
 * @returns {Persona[]}
 */
export function responders({ room, personas, people, text, choice }) {
  const bound = [...personas];
  if (choice === "none") return [];
  // Includes the handles of people: "@가람이" means 가람 with a particle unless a person is called 가람이.
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
 * Returns `personas` for `message.send`: null if the answer policy decides.
 * @param {Question} question
 * @returns {string[] | null}
 */
export function personasToSend(question) {
  if (question.choice === "usual") return null;
  return responders(question).map(({ id }) => id);
}
