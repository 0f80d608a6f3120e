// @ts-check
// The state of a room, independent of the page. `apply` takes an event and returns what has changed;
// nothing else changes the state.
//
// Durable events carry the room's seq: each is applied once and in order, and a gap throws. Deltas carry
// their seq in an attempt, so that the concatenated text equals the streamed text even if frames were
// lost, repeated or reordered.

import { AskState } from "./acting/ask_state.js";
import { Gap } from "./gap.js";
import { LoadedMessages } from "./history/loaded_messages.js";
import { Rights } from "./timeline/rights.js";
import { withPin, withRoot, withStep, withVersion } from "./room_parts.js";
import { isInRoom, OpenThreads } from "./threads/open_threads.js";

/** @typedef {import("./timeline/layout_rules.js").LayoutRules} LayoutRules */
/** @typedef {import("./protocol.js").Frame} Frame */
/** @typedef {import("./protocol.js").Member} Member */
/** @typedef {import("./protocol.js").Message} Message */
/** @typedef {import("./protocol.js").Persona} Persona */
/** @typedef {import("./protocol.js").PinnedMessage} PinnedMessage */
/** @typedef {import("./protocol.js").Room} Room */
/** @typedef {import("./protocol.js").FullState} FullState */
/** @typedef {import("./protocol.js").Run} Run */
/** @typedef {import("./protocol.js").LiveAnswer} LiveAnswer */
/** @typedef {import("./protocol.js").Snapshot} Snapshot */
/** @typedef {import("./protocol.js").LiveText} LiveText */
/** @typedef {import("./protocol.js").Step} Step */
/** @typedef {import("./protocol.js").Change} Change */
/** @typedef {import("./protocol.js").Round} Round */
/** @typedef {import("./timeline/layout_rules.js").AnswerState} AnswerState */

const RUN_STATES = /** @type {Record<string, string>} */ ({
  "run.queued": "queued",
  "run.started": "running",
  "run.waiting": "waiting",
  "run.completed": "completed",
  "run.failed": "failed",
  "run.cancelled": "cancelled",
});


export class RoomState extends Rights {
  seq = -1;
  /** @type {Room} */
  room;
  /** All members, or in a large room those that are known. @type {Map<string, Member>} */
  members = new Map();
  membersComplete = true;
  /** The members of a large room that are not known. */
  #unknownMembers = 0;
  /** @type {Map<string, Persona>} */
  personas = new Map();
  loaded = new LoadedMessages();
  threads = new OpenThreads();
  /** The text of streaming answers, by message. @type {Map<string, LiveText>} */
  live = new Map();
  /** Streaming answers that stand before the loaded messages; their deltas are ignored. @type {Set<string>} */
  #notLoaded = new Set();
  /** @type {Map<string, Step[]>} */
  steps = new Map();
  /** @type {Set<string>} */
  online = new Set();
  /** The reader's votes that are known, by message. @type {Map<string, number>} */
  ownVotes = new Map();
  /** All pinned messages, the last pinned first. @type {PinnedMessage[]} */
  pins = [];

  /**
   * @param {FullState} fullState
   * @param {number} seq of `fullState`
   * @param {string} me the id of the reader
   * @param {LayoutRules} rules
   */
  constructor(fullState, seq, me, rules) {
    super(me, rules);
    this.asks = new AskState(me);
    this.room = fullState.room;
    this.#replaceState(fullState, seq);
  }

  /**
   * Applies one frame and returns the changes.
   * @param {Frame} frame
   * @returns {Change[]}
   * @throws {Gap} The frame has not changed the state, except that a snapshot may be applied in part.
   */
  apply(frame) {
    if (frame.type === "room.snapshot") return this.#applySnapshot(/** @type {any} */ (frame));
    if (frame.type === "message.delta") return this.#applyDelta(/** @type {any} */ (frame));
    if (frame.type === "history.loaded") return this.#applyHistory(frame);
    if (frame.type === "members.loaded") return this.#addMembers(frame.members);
    if (frame.type === "votes.loaded") return this.#applyOwnVotes(frame.votes);
    if (frame.type === "approval.loaded" || frame.type === "approval.lost") return this.asks.apply(frame);
    if (frame.type.startsWith("thread.") && frame.root) return this.#applyThread(frame);
    if (typeof frame.seq !== "number") return this.#applyEphemeral(frame);
    if (frame.seq <= this.seq) return [];
    if (frame.seq > this.seq + 1) throw new Gap(true);
    const changes = this.#applyDurable(frame);
    this.seq = frame.seq;
    this.loaded.remember(frame);
    return changes;
  }

  /** A part of the messages that the room shows, without gaps, in timeline order. */
  get messages() {
    return this.loaded.messages;
  }

  /** Whether `messages` begins with the room's first message. */
  get messagesComplete() {
    return this.loaded.complete;
  }

  /** The position for `room.join`: the server sends only the events and deltas after it. */
  get position() {
    const started = [...this.live].filter(([, { seq }]) => seq >= 0);
    return {
      after: this.seq,
      live: Object.fromEntries(started.map(([id, { attempt, seq }]) => [id, [attempt, seq]])),
    };
  }

  /** The messages of others after a seq, which are not deleted. @param {number} seq @returns {Message[]} */
  messagesAfter(seq) {
    const others = [...this.messages.values()].filter(({ author }) => author.id !== this.me);
    return others.filter((message) => message.seq > seq && !message.deleted);
  }

  /** @param {string} id @returns {Message | undefined} a message of the room or of an open thread */
  message(id) {
    return this.messages.get(id) ?? this.threads.find(id);
  }

  /** @returns {number} the number of all members */
  get memberCount() {
    return this.members.size + this.#unknownMembers;
  }

  /** The last message with a text. @returns {Message | undefined} */
  get lastMessage() {
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
    if (!this.rules.states[state].busy) return state;
    const waiting = this.rules.state_of_run[this.runs.get(answer.run ?? "")?.state ?? ""];
    if (waiting) return waiting;
    // The server renders no deltas, so only the page distinguishes "streaming" from "thinking".
    return state === "thinking" && this.live.get(answer.id)?.text.trim() ? "streaming" : state;
  }

  /** @param {FullState} fullState @param {number} seq */
  #replaceState(fullState, seq) {
    this.seq = seq;
    this.room = fullState.room;
    this.members = new Map(fullState.members.map((member) => [member.user, member]));
    this.membersComplete = fullState.members_complete ?? true;
    const count = fullState.room.member_count ?? this.members.size;
    this.#unknownMembers = this.membersComplete ? 0 : Math.max(count - this.members.size, 0);
    this.personas = new Map(fullState.personas.map((persona) => [persona.id, persona]));
    this.permissions = new Set(fullState.permissions);
    // The messages of open threads follow those of the room, and begin with an older one.
    const [first] = fullState.messages;
    const inRoom = fullState.messages.filter((each) => isInRoom(each) && each.seq >= first.seq);
    this.loaded.replace(inRoom, fullState.messages_complete);
    this.threads.replace(fullState.messages);
    this.pins = fullState.pins ?? [];
    this.asks.replace(fullState);
    for (const run of this.openRuns) this.runs.delete(run.id);
    for (const run of fullState.runs) this.runs.set(run.id, run);
    const answers = fullState.runs.map(({ answer }) => answer ?? "");
    this.#notLoaded = new Set(answers.filter((id) => !this.messages.has(id)));
    for (const id of this.live.keys()) if (!this.#isStreaming(id)) this.live.delete(id);
  }

  /** @param {Snapshot} snapshot @returns {Change[]} */
  #applySnapshot(snapshot) {
    /** @type {Change[]} */
    const changes = [];
    if (snapshot.state) {
      this.#replaceState(snapshot.state, snapshot.seq);
      changes.push({ what: "everything" });
    } else {
      if (snapshot.from > this.seq) throw new Gap(true);
      for (const event of snapshot.events ?? []) changes.push(...this.apply(event));
    }
    for (const answer of snapshot.live) changes.push(...this.#applyLive(answer));
    return [...changes, ...this.#applyOnline(snapshot.online)];
  }

  /** @param {string[] | undefined} online the users who are online; undefined if the server has no presence data @returns {Change[]} */
  #applyOnline(online) {
    if (!online) return [];
    const concerned = new Set([...this.online, ...online]);
    this.online = new Set(online);
    return [...concerned].map((user) => ({ what: "presence", user }));
  }

  /** @param {LiveAnswer} answer @returns {Change[]} */
  #applyLive({ message, attempt, from, seq, text }) {
    const current = this.live.get(message);
    if (current && current.attempt > attempt) return [];
    if (from === 0) return this.#setLive(message, { attempt, seq, text });
    if (current?.attempt === attempt && current.seq >= seq) return [];
    if (current?.attempt === attempt && current.seq === from - 1) {
      return this.#setLive(message, { attempt, seq, text: current.text + text });
    }
    this.live.delete(message);
    throw new Gap(false);
  }

  /** @param {{message: string, run: string, attempt: number, seq: number, text: string}} delta @returns {Change[]} */
  #applyDelta({ message, run, attempt, seq, text }) {
    const isKnown = this.message(message) !== undefined;
    // An answer of a thread that is not open is not loaded, or one older than the loaded messages.
    const isHidden = !isKnown && (this.#notLoaded.has(message) || this.runs.get(run)?.answer === message);
    if (isHidden || (isKnown && !this.#isStreaming(message))) return [];
    const current = this.live.get(message) ?? { attempt, seq: -1, text: "" };
    if (attempt < current.attempt) return [];
    const next = attempt > current.attempt ? { seq: 0, text: "" } : { seq: current.seq + 1, text: current.text };
    if (seq < next.seq) return [];
    if (seq > next.seq || !isKnown) throw new Gap(false);
    return this.#setLive(message, { attempt, seq, text: next.text + text });
  }

  /** @param {string} message @param {LiveText} liveText @returns {Change[]} */
  #setLive(message, liveText) {
    // An answer older than the loaded messages is not shown.
    if (!this.#isStreaming(message)) return [];
    this.live.set(message, liveText);
    return [{ what: "text", message }];
  }

  /** @param {string} message */
  #isStreaming(message) {
    return this.message(message)?.status === "streaming";
  }

  /**
   * Adds a part of the history. Without a `place`, only the ended runs of known answers are added.
   * @param {Frame} frame @returns {Change[]}
   */
  #applyHistory({ place, messages, runs, members, earlier, later, seq }) {
    this.#addMembers(members ?? []); // the authors of the messages
    for (const run of runs) if (!this.runs.has(run.id)) this.runs.set(run.id, run);
    if (!place) return [];
    const shown = this.messages;
    this.loaded.extend({ place, messages, earlier, later });
    for (const { id, status } of shown.values()) {
      if (status === "streaming" && !this.message(id)) this.#notLoaded.add(id);
    }
    for (const id of this.messages.keys()) this.#notLoaded.delete(id);
    for (const event of this.loaded.eventsAfter(seq)) this.#applyDurable(event);
    for (const id of this.live.keys()) if (!this.message(id)) this.live.delete(id);
    return [{ what: "history" }];
  }

  /** @param {{message: string, value: number}[]} votes @returns {Change[]} */
  #applyOwnVotes(votes) {
    for (const { message, value } of votes) this.ownVotes.set(message, value);
    return votes.map(({ message }) => ({ what: "reactions", message }));
  }

  /** Adds members of a large room that were not known. @param {Member[]} members @returns {Change[]} */
  #addMembers(members) {
    const added = this.membersComplete ? [] : members.filter(({ user }) => !this.members.has(user));
    for (const member of added) this.members.set(member.user, member);
    this.#unknownMembers = Math.max(this.#unknownMembers - added.length, 0);
    return [{ what: "people" }];
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyDurable(frame) {
    const [subject] = frame.type.split(".");
    if (subject === "message" && frame.message) return this.#applyMessage(frame.type, frame.message);
    if (frame.type === "reaction.changed") return this.#update(frame, "reactions", { reactions: frame.reactions });
    if (frame.type === "thread.changed") return this.#update(frame, "thread", { replies: frame.replies });
    if (frame.type === "round.changed") return this.#applyRound(frame.round);
    if (subject === "approval" || subject === "question") return this.asks.apply(frame);
    if (frame.type === "turns.capped") return this.#update(frame, "message", { capped: frame.limit });
    if (subject === "run" && frame.run) return this.#applyRun(frame.type, frame.run);
    if (subject === "member") return this.#applyMember(frame);
    if (subject === "persona") return this.#applyPersona(frame);
    if (subject === "room" && frame.changed) return this.#applyRoom(frame.changed);
    return []; // an event type of a later version: only its seq is used
  }

  /** @param {import("./protocol.js").Room} changed @returns {Change[]} */
  #applyRoom(changed) {
    const rights = changed.archived !== this.room.archived;
    this.room = changed;
    return rights ? [{ what: "room" }, { what: "rights" }] : [{ what: "room" }];
  }

  /** @param {Round} round @returns {Change[]} */
  #applyRound(round) {
    const frame = { type: "round.changed", message: round.message };
    return this.#update(frame, "message", { round });
  }

  /** @param {string} type @param {Message} message @returns {Change[]} */
  #applyMessage(type, message) {
    const pins = this.pins;
    this.pins = withPin(pins, message);
    /** @type {Change[]} */
    const changes = this.pins === pins ? [] : [{ what: "pins" }];
    if (hasApplied(message, this.message(message.id))) changes.push({ what: "steering", message: message.id });
    const isNew = type === "message.created";
    const replaced = isNew && message.replaces;
    if (replaced) this.#moveThread(replaced, message.id);
    const isLoaded = replaced ? this.messages.has(replaced) : isNew || this.messages.has(message.id);
    const inRoom = isInRoom(message) && isLoaded;
    const inThread = this.threads.put(type, message);
    if (inRoom && replaced) this.loaded.messages = withVersion(this.messages, replaced, message);
    const isMissing = inRoom && !replaced && !this.loaded.set(message);
    if (!inThread && (!inRoom || isMissing)) {
      if (replaced || isMissing) this.#notLoaded.add(message.id);
      // Other changes of messages that are not loaded are ignored.
      return isMissing ? [...changes, { what: "later" }] : changes;
    }
    if (message.status !== "streaming") this.live.delete(message.id);
    return [...changes, { what: "message", message: message.id }];
  }

  /** Changes fields of a message; the thread of a root that is not loaded has also changed.
   * @param {Frame} frame @param {"message" | "reactions" | "thread"} what @param {Partial<Message>} fields @returns {Change[]} */
  #update(frame, what, fields) {
    const id = frame.message;
    const message = this.messages.get(id);
    if (message) this.loaded.set({ ...message, ...fields });
    this.threads.update(id, fields, frame);
    return this.message(id) || what === "thread" ? [{ what, message: id }] : [];
  }

  /** A new version of an answer is the root of its thread. @param {string} from @param {string} to */
  #moveThread(from, to) {
    this.threads.move(from, to);
    this.loaded.messages = withRoot(this.messages, from, to);
    this.runs = withRoot(this.runs, from, to);
  }

  /** Opens, moves or closes a thread, or adds its messages after they are loaded. @param {Frame} frame @returns {Change[]} */
  #applyThread({ type, root, to, messages = [], runs = [], members = [] }) {
    if (type === "thread.moved") this.#moveThread(root, to);
    if (type === "thread.opened") this.threads.open(root, this.messages.get(root));
    const closed = type === "thread.closed" ? this.threads.close(root) : [];
    for (const { id } of closed) if (!this.message(id)) this.live.delete(id);
    if (type === "thread.loaded") this.#addMembers(members);
    for (const run of runs) if (!this.runs.has(run.id)) this.runs.set(run.id, run);
    const missed = type === "thread.loaded" ? this.threads.load(root, messages) : [];
    for (const frame of missed) this.#applyDurable(frame);
    return [{ what: "thread", message: root }];
  }

  /** @param {string} type @param {Run} run @returns {Change[]} */
  #applyRun(type, run) {
    // A run that has waited is queued before it starts again.
    const isTakenOver = type === "run.started" && this.runs.get(run.id)?.state === "running";
    this.runs.set(run.id, { ...run, state: RUN_STATES[type] ?? run.state, isTakenOver });
    /** @type {Change[]} */
    const changes = [{ what: "run", run: run.id }];
    if (type === "run.started" && run.answer) changes.push(...this.#restartAnswer(run));
    return changes;
  }

  /** @param {Run} run @returns {Change[]} */
  #restartAnswer({ id, answer, attempt }) {
    const current = this.live.get(answer ?? "");
    if (!answer || !current || current.attempt >= attempt) return [];
    this.steps.delete(id);
    return this.#setLive(answer, { attempt, seq: -1, text: "" });
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyMember({ type, member, user }) {
    const isKnown = this.members.has(user ?? member?.user);
    if (!isKnown && type !== "member.added" && this.#unknownMembers) this.#unknownMembers -= 1;
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

  /** Applies an event that is not in the log. @param {Frame} frame @returns {Change[]} */
  #applyEphemeral(frame) {
    if (frame.type === "member.typing") return [{ what: "typing", user: frame.user }];
    if (frame.type === "presence") {
      if (frame.online) this.online.add(frame.user);
      else this.online.delete(frame.user);
      return [{ what: "presence", user: frame.user }];
    }
    if (frame.type === "run.position") return this.#applyPosition(frame);
    if (frame.type !== "tool.started" && frame.type !== "tool.finished") return [];
    this.steps.set(frame.run, withStep(this.steps.get(frame.run) ?? [], frame));
    return [{ what: "steps", run: frame.run }];
  }

  /** @param {Frame} frame @returns {Change[]} */
  #applyPosition({ run: id, position }) {
    const run = this.runs.get(id);
    if (run?.state !== "queued") return [];
    this.runs.set(id, { ...run, position });
    return [{ what: "run", run: id }];
  }
}

/** @param {Message} message @param {Message | undefined} before @returns {boolean} whether a steering line was applied since */
function hasApplied({ steered = [] }, before) {
  const accepted = new Set(before?.steered?.filter(({ state }) => state === "accepted").map(({ id }) => id));
  return steered.some(({ id, state }) => state === "applied" && accepted.has(id));
}
