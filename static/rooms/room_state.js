// @ts-check
// What is known of a room, without a page: events in, changes out. `apply` alone changes it.
//
// Durable events carry the room's seq: each is taken once, in order, and a gap is never passed over.
// Deltas carry their place in an answer. A text that was put together from them is the text that the
// persona streamed, whatever was cut, repeated or reordered on the way.

/** @typedef {import("./timeline/layout_rules.js").LayoutRules} LayoutRules */
/** @typedef {import("./protocol.js").Frame} Frame */
/** @typedef {import("./protocol.js").Member} Member */
/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./protocol.js").Persona} Persona */
/** @typedef {import("./protocol.js").Room} Room */
/** @typedef {import("./protocol.js").RoomAfresh} RoomAfresh */
/** @typedef {import("./protocol.js").Run} Run */
/** @typedef {import("./protocol.js").LiveAnswer} LiveAnswer */
/** @typedef {import("./protocol.js").Snapshot} Snapshot */

/** The deltas of an unfinished answer so far; `seq` is that of the last one.
 * @typedef {{attempt: number, seq: number, text: string}} Held */

/** @typedef {{call: string, tool: string, summary: string, ms: number | null, done: boolean}} Step */

/** What a page has to show anew.
 * @typedef {{what: "everything" | "people" | "personas" | "room" | "rights"}
 *   | {what: "message" | "text" | "reactions", message: string}
 *   | {what: "run" | "steps", run: string}
 *   | {what: "typing" | "presence", user: string}} Change */

/** @typedef {import("./timeline/layout_rules.js").AnswerState} AnswerState */

const RUN_STATES = /** @type {Record<string, string>} */ ({
  "run.queued": "queued",
  "run.started": "running",
  "run.completed": "completed",
  "run.failed": "failed",
  "run.cancelled": "cancelled",
});

const OPEN = new Set(["queued", "running"]);

/** Something is missing between what we have and what came: the room has to be joined again. */
export class Hole extends Error {
  /** @param {boolean} durable whether it is in the room's log; an answer's own holes heal by themselves */
  constructor(durable) {
    super("hole");
    this.durable = durable;
  }
}

export class RoomState {
  seq = -1;
  /** @type {Room} */
  room;
  /** @type {Map<string, Member>} */
  members = new Map();
  /** @type {Map<string, Persona>} */
  personas = new Map();
  /** @type {Set<string>} */
  permissions = new Set();
  /** In the order of the room. @type {Map<string, Message>} */
  messages = new Map();
  /** @type {Map<string, Run>} */
  runs = new Map();
  /** What there is of unfinished answers. @type {Map<string, Held>} */
  live = new Map();
  /** @type {Map<string, Step[]>} */
  steps = new Map();
  /** @type {Set<string>} */
  online = new Set();

  /**
   * @param {RoomAfresh} afresh
   * @param {number} seq up to where `afresh` tells of the room
   * @param {string} me the id of the reader
   * @param {LayoutRules} rules
   */
  constructor(afresh, seq, me, rules) {
    this.me = me;
    this.rules = rules;
    this.room = afresh.room;
    this.#take(afresh, seq);
  }

  /**
   * Takes in one frame of the room and says what has changed by it.
   * @param {Frame} frame
   * @returns {Change[]}
   * @throws {Hole} A frame that does not fit has changed nothing; a snapshot may have, in part.
   */
  apply(frame) {
    if (frame.type === "room.snapshot") return this.#applySnapshot(/** @type {any} */ (frame));
    if (frame.type === "message.delta") return this.#applyDelta(/** @type {any} */ (frame));
    if (frame.type === "history.loaded") return this.#applyHistory(frame);
    if (typeof frame.seq !== "number") return this.#applyPassing(frame);
    if (frame.seq <= this.seq) return [];
    if (frame.seq > this.seq + 1) throw new Hole(true);
    const changes = this.#applyDurable(frame);
    this.seq = frame.seq;
    return changes;
  }

  /** What `room.join` has to tell the server, so that it sends no more than is missing. */
  get position() {
    const held = [...this.live].filter(([, { seq }]) => seq >= 0);
    return {
      after: this.seq,
      live: Object.fromEntries(held.map(([id, { attempt, seq }]) => [id, [attempt, seq]])),
    };
  }

  /** The runs that have not ended, in the order in which they were queued. @returns {Run[]} */
  get openRuns() {
    return [...this.runs.values()].filter((run) => OPEN.has(run.state ?? ""));
  }

  /** @param {Run} run @returns {boolean} whether this person may stop it */
  mayStop(run) {
    return run.requested_by === this.me || this.permissions.has("moderate");
  }

  /** @param {Run} run @returns {boolean} whether this person may ask for the answer again */
  mayRetry(run) {
    if (!this.rules.retryable_run_states.includes(run.state ?? "")) return false;
    const again = this.openRuns.some(
      (other) => other.message === run.message && other.persona === run.persona,
    );
    const asker = run.requested_by === this.me && this.permissions.has("post");
    if (this.messages.get(run.message)?.deleted) return false;
    return !again && (asker || this.permissions.has("moderate"));
  }

  /** @param {Message} message @returns {boolean} whether this person may change its words */
  mayEdit(message) {
    const own = message.author.kind === "user" && message.author.id === this.me;
    return own && !message.deleted && this.permissions.has("post");
  }

  /** @param {Message} message @returns {boolean} whether this person may take it away */
  mayDelete(message) {
    return !message.deleted && (this.mayEdit(message) || this.permissions.has("moderate"));
  }

  /** @param {Message} message @returns {boolean} whether this person may react to it */
  mayReact(message) {
    return !message.deleted && this.permissions.has("post");
  }

  /** The last thing that was said and is still there. @returns {Message | undefined} */
  get lastSaid() {
    return [...this.messages.values()].findLast(({ text }) => text);
  }

  /**
   * @param {Message | null} answer null while the run is queued
   * @returns {AnswerState}
   */
  answerState(answer) {
    if (answer === null) return "queued";
    if (answer.deleted) return "deleted";
    const state = this.rules.state_of_status[answer.status];
    // The server renders no deltas, so that only the page knows this state.
    return state === "thinking" && this.live.get(answer.id)?.text.trim() ? "streaming" : state;
  }

  /** @param {RoomAfresh} afresh @param {number} seq */
  #take(afresh, seq) {
    this.seq = seq;
    this.room = afresh.room;
    this.members = new Map(afresh.members.map((member) => [member.user, member]));
    this.personas = new Map(afresh.personas.map((persona) => [persona.id, persona]));
    this.permissions = new Set(afresh.permissions);
    this.messages = new Map(afresh.messages.map((message) => [message.id, message]));
    for (const run of this.openRuns) this.runs.delete(run.id);
    for (const run of afresh.runs) this.runs.set(run.id, run);
    for (const id of this.live.keys()) if (!this.#isStreaming(id)) this.live.delete(id);
  }

  /** @param {Snapshot} snapshot @returns {Change[]} */
  #applySnapshot(snapshot) {
    /** @type {Change[]} */
    const changes = [];
    if (snapshot.state) {
      this.#take(snapshot.state, snapshot.seq);
      changes.push({ what: "everything" });
    } else {
      if (snapshot.from > this.seq) throw new Hole(true);
      for (const event of snapshot.events ?? []) changes.push(...this.apply(event));
    }
    for (const answer of snapshot.live) changes.push(...this.#applyLive(answer));
    return [...changes, ...this.#applyOnline(snapshot.online)];
  }

  /** @param {string[] | undefined} online everybody who is here; left out by servers that do not know @returns {Change[]} */
  #applyOnline(online) {
    if (!online) return [];
    const concerned = new Set([...this.online, ...online]);
    this.online = new Set(online);
    return [...concerned].map((user) => ({ what: "presence", user }));
  }

  /** @param {LiveAnswer} answer @returns {Change[]} */
  #applyLive({ message, attempt, from, seq, text }) {
    const held = this.live.get(message);
    if (held && held.attempt > attempt) return [];
    if (from === 0) return this.#hold(message, { attempt, seq, text });
    if (held?.attempt === attempt && held.seq >= seq) return [];
    if (held?.attempt === attempt && held.seq === from - 1) {
      return this.#hold(message, { attempt, seq, text: held.text + text });
    }
    this.live.delete(message);
    throw new Hole(false);
  }

  /** @param {{message: string, attempt: number, seq: number, text: string}} delta @returns {Change[]} */
  #applyDelta({ message, attempt, seq, text }) {
    if (this.messages.has(message) && !this.#isStreaming(message)) return [];
    const held = this.live.get(message) ?? { attempt, seq: -1, text: "" };
    if (attempt < held.attempt) return [];
    const next = attempt > held.attempt ? { seq: 0, text: "" } : { seq: held.seq + 1, text: held.text };
    if (seq < next.seq) return [];
    if (seq > next.seq || !this.messages.has(message)) throw new Hole(false);
    return this.#hold(message, { attempt, seq, text: next.text + text });
  }

  /** @param {string} message @param {Held} held @returns {Change[]} */
  #hold(message, held) {
    // An answer that began before the part of the room that we know of is not ours to show.
    if (!this.#isStreaming(message)) return [];
    this.live.set(message, held);
    return [{ what: "text", message }];
  }

  /** @param {string} message */
  #isStreaming(message) {
    return this.messages.get(message)?.status === "streaming";
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyHistory({ messages, runs }) {
    const later = [...this.messages];
    this.messages = new Map([...messages.map((/** @type {Message} */ m) => [m.id, m]), ...later]);
    for (const run of runs) if (!this.runs.has(run.id)) this.runs.set(run.id, run);
    return [];
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyDurable(frame) {
    const [subject] = frame.type.split(".");
    if (subject === "message" && frame.message) return this.#applyMessage(frame.type, frame.message);
    if (frame.type === "reaction.changed") return this.#applyReactions(frame);
    if (subject === "run" && frame.run) return this.#applyRun(frame.type, frame.run);
    if (subject === "member") return this.#applyMember(frame);
    if (subject === "persona") return this.#applyPersona(frame);
    if (subject === "room" && frame.changed) return this.#applyRoom(frame.changed);
    return []; // an event of a later version: its seq counts, the rest is not for us
  }

  /** @param {import("./protocol.js").Room} changed @returns {Change[]} */
  #applyRoom(changed) {
    const rights = changed.archived !== this.room.archived;
    this.room = changed;
    return rights ? [{ what: "room" }, { what: "rights" }] : [{ what: "room" }];
  }

  /** @param {string} type @param {Message} message @returns {Change[]} */
  #applyMessage(type, message) {
    // What changes in a part of the room that we do not show has no place here.
    if (type !== "message.created" && !this.messages.has(message.id)) return [];
    this.messages.set(message.id, message);
    if (message.status !== "streaming") this.live.delete(message.id);
    return [{ what: "message", message: message.id }];
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyReactions({ message: id, reactions }) {
    const message = this.messages.get(id);
    if (!message) return [];
    this.messages.set(id, { ...message, reactions });
    return [{ what: "reactions", message: id }];
  }

  /** @param {string} type @param {Run} run @returns {Change[]} */
  #applyRun(type, run) {
    this.runs.set(run.id, { ...run, state: RUN_STATES[type] ?? run.state });
    /** @type {Change[]} */
    const changes = [{ what: "run", run: run.id }];
    if (type === "run.started" && run.answer) changes.push(...this.#startOver(run));
    return changes;
  }

  /** @param {Run} run @returns {Change[]} */
  #startOver({ id, answer, attempt }) {
    const held = this.live.get(answer ?? "");
    if (!answer || !held || held.attempt >= attempt) return [];
    this.steps.delete(id);
    return this.#hold(answer, { attempt, seq: -1, text: "" });
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyMember({ type, member, user }) {
    if (type === "member.removed") this.members.delete(user);
    else if (member) this.members.set(member.user, member);
    const mine = member?.user === this.me;
    return mine ? [{ what: "people" }, { what: "rights" }] : [{ what: "people" }];
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyPersona({ type, persona }) {
    if (type === "persona.unbound") this.personas.delete(persona);
    else this.personas.set(persona.id, persona);
    return [{ what: "personas" }];
  }

  /** What is not in the log, and is worth nothing later. @param {Frame} frame @returns {Change[]} */
  #applyPassing(frame) {
    if (frame.type === "member.typing") return [{ what: "typing", user: frame.user }];
    if (frame.type === "presence") {
      if (frame.online) this.online.add(frame.user);
      else this.online.delete(frame.user);
      return [{ what: "presence", user: frame.user }];
    }
    if (frame.type === "run.position") return this.#applyPosition(frame);
    if (frame.type === "tool.started" || frame.type === "tool.finished") return this.#applyTool(frame);
    return [];
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyPosition({ run: id, position }) {
    const run = this.runs.get(id);
    if (run?.state !== "queued") return [];
    this.runs.set(id, { ...run, position });
    return [{ what: "run", run: id }];
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyTool({ type, run, call, tool, summary, ms }) {
    const steps = (this.steps.get(run) ?? []).filter((step) => step.call !== call);
    const step = { call, tool, summary, ms: ms ?? null, done: type === "tool.finished" };
    const before = this.steps.get(run)?.findIndex((other) => other.call === call) ?? -1;
    steps.splice(before < 0 ? steps.length : before, 0, step);
    this.steps.set(run, steps);
    return [{ what: "steps", run }];
  }
}
