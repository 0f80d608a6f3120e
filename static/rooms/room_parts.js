// @ts-check
// Changed parts of the state of a room: each function returns a new value and changes nothing.

/** @typedef {import("./protocol.js").Frame} Frame */
/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./protocol.js").PinnedMessage} PinnedMessage */
/** @typedef {import("./protocol.js").Step} Step */

/** The number of code points of a text in the list of pins, as in rooms/protocol/serializers.py. */
const PIN_TEXT = 200;

/**
 * Returns the pins after a change of a message; the same array if they have not changed.
 * @param {PinnedMessage[]} pins the last pinned first
 * @param {Message} message
 */
export function withPin(pins, { id, author, text, pinned, replaces }) {
  // A new version of an answer has the pin of the version before it.
  const at = pins.findIndex((pin) => pin.message === id || (pinned && pin.message === replaces));
  if (!pinned && at < 0) return pins;
  const others = pins.filter((_pin, index) => index !== at);
  if (!pinned) return others;
  const start = Array.from(text).slice(0, PIN_TEXT).join("");
  return others.toSpliced(Math.max(at, 0), 0, { message: id, author, text: start, pinned });
}

/**
 * Returns the messages with a new version of an answer in the place of the version before it.
 * @param {Map<string, Message>} messages
 * @param {string} before
 * @param {Message} message
 */
export function withVersion(messages, before, message) {
  const rows = [...messages].map(([id, row]) => (id === before ? message : row));
  return new Map(rows.map((row) => [row.id, row]));
}

/**
 * Returns messages or runs by id, those of a thread with its new root.
 * @template {{thread?: string | null}} T
 * @param {Map<string, T>} rows
 * @param {string} from the version of an answer that was the root
 * @param {string} to
 * @returns {Map<string, T>}
 */
export function withRoot(rows, from, to) {
  return new Map([...rows].map(([id, row]) => [id, row.thread === from ? { ...row, thread: to } : row]));
}

/** @param {Step[]} steps @param {Frame} frame `tool.started` or `tool.finished` @returns {Step[]} */
export function withStep(steps, { type, call, tool, summary, ms }) {
  const step = { call, tool, summary, ms: ms ?? null, done: type === "tool.finished" };
  const at = steps.findIndex((other) => other.call === call);
  return at < 0 ? [...steps, step] : steps.with(at, step);
}
