// @ts-check
// The room as the panel of a thread sees it: the messages and open runs are those of the thread, all else is the room's.

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Message} Message */

/** The thread that the panel shows.
 * @typedef {{root: string | null, messagesComplete: boolean}} Shown */

/** @typedef {RoomState & {place: import("../composer/responders.js").Place}} ThreadState */

/**
 * @param {RoomState} room
 * @param {Shown} shown `root` changes when the panel opens another thread
 * @returns {ThreadState}
 */
export function threadState(room, shown) {
  const messages = () => (shown.root && room.threads.messages(shown.root)) || new Map();
  const openRuns = () => room.openRuns.filter(({ thread }) => thread === shown.root);
  /** @type {Record<string | symbol, () => unknown>} */
  const own = {
    messages,
    openRuns,
    messagesComplete: () => shown.messagesComplete,
    place: () => placeOf(shown, messages(), openRuns().at(-1)?.persona),
  };
  return /** @type {ThreadState} */ (
    new Proxy(room, {
      get(_room, name) {
        if (Object.hasOwn(own, name)) return own[name]();
        const value = Reflect.get(room, name, room);
        return typeof value === "function" ? value.bind(room) : value;
      },
    })
  );
}

/**
 * Returns the place of a reply that names the root. The first reply is for its author; afterwards the persona that
 * was asked last follows up, or that of the root.
 * @param {Shown} shown
 * @param {Map<string, Message>} messages
 * @param {string | undefined} asked
 */
function placeOf({ root }, messages, asked) {
  const { author, replies } = messages.get(root ?? "") ?? {};
  const isFirst = !asked && !replies;
  const spoken = [...messages.values()].findLast(({ author: { kind } }) => kind === "persona");
  const follows = asked ?? spoken?.author.id ?? null;
  const repliedTo = isFirst && author?.kind === "persona" ? author.id : null;
  return { replied_to: repliedTo, in_thread: true, follows, to_person: false };
}
