// @ts-check
// Decides which personas will answer a message, and why, before it is sent.
//
// The same rules as rooms/runs/responders.py, where they are described: tests/rooms/runs/responders.json has
// the cases that both pass.

/** @typedef {"named" | "mention" | "reply" | "thread" | "policy"} Why */
/** Why no persona answers.
 * @typedef {"named" | "off" | "mention" | "person" | "absent"} Silence */
/** A persona that is bound to the room and that the author may use.
 * @typedef {{id: string, handle: string, enabled: boolean}} Candidate */
/** @typedef {{
 *   policy: string, personas: Candidate[], default: string | null, muted: string[],
 *   mode: string, lead: string | null,
 * }} Answering */
/** The place of a message: the persona whose message it replies to, and its thread.
 * @typedef {{
 *   replied_to: string | null, in_thread: boolean, follows: string | null, to_person: boolean,
 * }} Place */
/** @typedef {{
 *   mentioned: Set<string>, named: string[] | null, mentions_first: boolean, in_turn: boolean, place: Place,
 * }} Addressed */

/** The personas that answer one message in turn, at most. */
const MAX_IN_TURN = 8;

/** @type {Place} The place of a message that is no reply. */
export const NOWHERE = { replied_to: null, in_thread: false, follows: null, to_person: false };

/**
 * Whether several personas answer a message in turn.
 * @param {Pick<Addressed, "in_turn">} message
 * @param {Pick<Answering, "mode">} room
 * @returns {boolean}
 */
export function isInTurn({ in_turn: inTurn }, { mode }) {
  return inTurn || mode === "round";
}

/**
 * @param {Addressed} message
 * @param {Answering} room
 * @returns {{persona: string, why: Why}[]} the personas that answer, in the order in which they were bound, or in
 *   which they answer in turn
 */
export function responders(message, room) {
  const { mentioned, named, mentions_first: mentionsFirst, place } = message;
  const addressed = room.personas.filter(({ handle }) => mentioned.has(handle));
  const chosen = room.personas.filter(({ id }) => named?.includes(id));
  if (isInTurn(message, room)) {
    const order = [...mentioned];
    addressed.sort((one, other) => order.indexOf(one.handle) - order.indexOf(other.handle));
    chosen.sort((one, other) => (named ?? []).indexOf(one.id) - (named ?? []).indexOf(other.id));
  }
  if (named !== null) {
    if (mentionsFirst && chosen.length && addressed.length) return because("mention", addressed);
    return because("named", chosen);
  }
  if (room.policy === "off") return [];
  if (addressed.length) return because("mention", addressed);
  const listening = room.personas.filter(({ id }) => !room.muted.includes(id));
  const repliedTo = listening.filter(({ id }) => id === place.replied_to);
  if (repliedTo.length) return because("reply", repliedTo);
  if (isToPerson(mentioned, place)) return [];
  if (place.in_thread && ["default", "thread"].includes(room.policy)) {
    const follows = listening.filter(({ id }) => id === place.follows);
    if (follows.length) return because("thread", follows);
  }
  return room.policy === "default" ? byDefault(message, room, listening) : [];
}

/**
 * @param {Addressed} message @param {Answering} room @param {Candidate[]} listening
 * @returns {{persona: string, why: Why}[]} the personas that the policy `default` chooses
 */
function byDefault(message, room, listening) {
  if (isInTurn(message, room)) {
    return because("policy", listening.filter(({ enabled }) => enabled).slice(0, MAX_IN_TURN));
  }
  const lead = listening.filter(({ id }) => room.mode === "led" && id === room.lead);
  return because("policy", lead.length ? lead : usual(room, listening));
}

/**
 * @param {Addressed} message
 * @param {Answering} room
 * @returns {Silence} why no persona answers a message for which `responders` returns none
 */
export function silence({ mentioned, named, place }, room) {
  if (named !== null) return "named";
  if (room.policy === "off") return "off";
  if (isToPerson(mentioned, place)) return "person";
  return room.policy === "default" ? "absent" : "mention";
}

/** @param {Set<string>} mentioned @param {Place} place @returns {boolean} */
function isToPerson(mentioned, place) {
  return place.in_thread && (place.to_person || mentioned.size > 0);
}

/** @param {Answering} room @param {Candidate[]} listening @returns {Candidate[]} the default persona */
function usual(room, listening) {
  if (room.personas.some(({ id }) => id === room.default)) return listening.filter(({ id }) => id === room.default);
  return listening.filter(({ enabled }) => enabled).slice(0, 1);
}

/** @param {Why} why @param {Candidate[]} personas @returns {{persona: string, why: Why}[]} */
function because(why, personas) {
  return personas.map(({ id }) => ({ persona: id, why }));
}
