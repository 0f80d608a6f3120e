// @ts-check
// The timeline on the page: renders the changes that `RoomState.apply` returns.

import { arrange, labelUnreadLine, putUnreadLine, removeUnreadLine } from "./layout.js";
import {
  endTryingAgain,
  makeMessage,
  resetRun,
  setAnswerState,
  setCapped,
  setDeleted,
  setIdentity,
  setPersonState,
  setPinned,
  setRights,
  setSpeaker,
  setStreamed,
  setTryingAgain,
  setVersions,
  setWhole,
} from "./message_view.js";
import { ActingParts } from "../acting/acting_parts.js";
import { clone, part, speakerOf } from "../elements.js";
import { decorate } from "./message_body.js";
import { FrameCommits } from "./frame_commits.js";
import { setReactions } from "./reactions.js";
import { setVotes } from "../tools/vote_view.js";

/** @typedef {import("../room_state.js").Change} Change */
/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../protocol.js").Run} Run */

/** What a waiting run waits for; "nothing" after the last decision, until it goes on.
 * @typedef {"me" | "people" | "answer" | "nothing"} WaitsFor */

const TRYING_AGAIN_MS = 2_000;
const NEWEST = 16; // scrolling renders more
const FIRST = ".timeline-day, .timeline-unread, .message";

export class TimelineView {
  /** @type {Map<string, HTMLElement>} */
  #messages = new Map();
  /** Answers by run: a queued run has no message yet. @type {Map<string, HTMLElement>} */
  #answers = new Map();
  /** The earlier version of an answer that an element shows. @type {WeakMap<HTMLElement, Message>} */
  #earlier = new WeakMap();

  /**
   * @param {HTMLElement} timeline
   * @param {RoomState} state
   * @param {{
   *   handle: string, attempts: number, count: () => void, keepPlace: (change: () => void) => void,
   *   prefix?: string, thread?: () => string | null, hint?: (article: HTMLElement, message: Message) => void,
   * }} options `keepPlace` calls a change that what is being read must not move with; `prefix` of the ids of its
   *   elements; `thread` returns the root of the thread that it shows; `hint` shows the thread of a message
   */
  constructor(
    timeline,
    state,
    { handle, attempts, count, keepPlace, prefix = "", thread = () => null, hint = () => {} },
  ) {
    this.timeline = timeline;
    this.state = state;
    this.handle = handle;
    this.attempts = attempts;
    this.count = count;
    this.keepPlace = keepPlace;
    this.growing = new FrameCommits(keepPlace, (article, text) => setStreamed(article, text, state));
    this.prefix = prefix;
    this.thread = thread;
    this.hint = hint;
    this.acting = new ActingParts(this);
    this.register(this.articles);
    for (const run of state.openRuns) if (run.replaces && !run.answer) this.#refreshQueued(run);
    const unread = timeline.querySelector("[data-unread]");
    if (unread instanceof HTMLElement) labelUnreadLine(unread);
  }

  /** @returns {HTMLElement[]} */
  get articles() {
    return [...this.timeline.querySelectorAll(/** @type {"article"} */ (".message"))];
  }

  /** The ids of the messages that have elements, in their order. @returns {string[]} */
  get messages() {
    return this.articles.map((article) => this.#idOf(article)).filter((id) => this.#messages.has(id));
  }

  /** Registers messages that the server has rendered. @param {HTMLElement[]} articles */
  register(articles) {
    for (const article of articles) {
      const id = this.#idOf(article);
      if (article.dataset.state !== "queued") this.#messages.set(id, article);
      if (article.dataset.runId) this.#answers.set(article.dataset.runId, article);
      decorate(part(article, "[data-body]"), this.handle);
      this.#showRights(article);
      this.#showReactions(article);
      this.#showHint(article);
      const { state } = article.dataset;
      // The panel of a thread registers its messages again when the state has them; until then, the server's text stays.
      if (state !== "queued" && !this.messageOf(article)) continue;
      if (this.state.rules.states[state ?? ""]?.stop) this.#refresh(article);
      else this.acting.show(article); // with local times
    }
    arrange(articles, this.state.rules);
    this.count();
  }

  /** @param {Change[]} changes @param {Frame} frame */
  show(changes, frame) {
    for (const change of changes) {
      if (change.what === "everything" || change.what === "history") this.#showEverything();
      else if (change.what === "message") this.#showMessage(change.message);
      else if (change.what === "text") this.#showText(change.message);
      else if (change.what === "reactions") this.#showReactions(this.#messages.get(change.message));
      else if (change.what === "thread") this.#showHint(this.#messages.get(change.message));
      else if (change.what === "run") this.#showRun(change.run, frame);
      else if (change.what === "steps" || change.what === "ask") this.#showActing(change.run);
      else if (change.what === "personas" || change.what === "people") this.#showSpeakers();
    }
    if (changes.some(({ what }) => what !== "text")) this.count();
  }

  /** Removes all messages. */
  clear() {
    for (const node of this.timeline.querySelectorAll(".message, [data-day]")) node.remove();
    this.#messages.clear();
    this.#answers.clear();
  }

  /** @param {string} run @returns {HTMLElement | undefined} */
  answer(run) {
    return this.#answers.get(run);
  }

  /** @param {HTMLElement} article @returns {Run | undefined} */
  runOf(article) {
    return this.state.runs.get(article.dataset.runId ?? "");
  }

  /** @param {HTMLElement} article @returns {Message | null} */
  messageOf(article) {
    return this.state.messages.get(this.#idOf(article)) ?? null;
  }

  /** @param {HTMLElement} article @returns {Message | null} the version that the reader sees */
  shownOf(article) {
    return this.#earlier.get(article) ?? this.messageOf(article);
  }

  /** Shows a version of an answer until the answer changes. @param {HTMLElement} article @param {Message} version */
  showVersion(article, version) {
    const current = this.messageOf(article);
    setWhole(article, version, this.handle);
    setVersions(article, version, current?.answer_version);
    if (version.id === current?.id) return this.#endVersion(article);
    article.setAttribute("data-earlier-version", ""); // without votes: they are for the last version
    this.#earlier.set(article, version);
    this.acting.show(article);
  }

  /** @param {HTMLElement} article that shows the last version from now on */
  #endVersion(article) {
    article.removeAttribute("data-earlier-version");
    if (this.#earlier.delete(article)) this.acting.show(article);
  }

  /** @param {HTMLElement} article @returns {string} */
  #idOf(article) {
    return article.id.slice(`${this.prefix}message-`.length);
  }

  /** Renders the state of an answer. @param {HTMLElement} article */
  #refresh(article) {
    const run = this.runOf(article);
    const message = this.messageOf(article);
    const failed = run && !message && run.state === "failed";
    const waits = run?.state === "queued" && run.replaces;
    const state = failed ? "failed" : this.state.answerState(waits ? null : message);
    const stoppedBy = this.state.members.get(run?.stopped_by ?? "")?.name ?? "";
    const rules = this.state.rules.states[state];
    const about = { run, stoppedBy, why: message?.why ?? null, maySee: this.#rights(article), waitsFor: this.#waitsFor(run, message) };
    setAnswerState(article, state, rules, about);
    this.acting.show(article);
    setCapped(article, message?.deleted ? null : (message?.capped ?? null));
  }

  /** The rights of the reader for a message, by name of the button. @param {HTMLElement} article */
  #rights(article) {
    const { state } = this;
    const [run, message] = [this.runOf(article), this.messageOf(article)];
    return {
      stop: run !== undefined && state.mayStop(run),
      steer: run !== undefined && state.maySteer(run),
      retry: run !== undefined && state.mayRetry(run),
      react: message !== null && state.mayReact(message),
      edit: message !== null && state.mayEdit(message),
      delete: message !== null && state.mayDelete(message),
      continue: message !== null && state.mayContinue(message),
    };
  }

  /** @param {HTMLElement} article */
  #showRights(article) {
    setRights(article, this.#rights(article));
  }

  /** @param {HTMLElement | undefined} article */
  #showReactions(article) {
    const message = article && this.messageOf(article);
    if (!message) return;
    setReactions(article, message, this.state);
    setVotes(article, message, this.state);
  }

  /** @param {HTMLElement | undefined} article */
  #showHint(article) {
    const message = article && this.messageOf(article);
    if (message) this.hint(article, message);
  }

  /** Adds the tools to a message, and removes those of messages that do not need them any more. @param {HTMLElement} article */
  addTools(article) {
    if (article.querySelector(":scope > .message-tools")) return;
    for (const tools of this.timeline.querySelectorAll(".message-tools")) if (!areInUse(tools)) tools.remove();
    article.append(clone("tools"));
    this.#showHint(article); // with the address of the thread for Reply
  }

  /** Renders messages on one side of those in the page. @param {"before" | "after"} side @param {string[]} ids */
  add(side, ids) {
    const first = side === "before" ? this.timeline.querySelector(FIRST) : null;
    const made = ids.map((id) => this.#make(/** @type {Message} */ (this.state.messages.get(id))));
    if (first) first.before(...made);
    else for (const article of made) this.#place(article);
    const { articles } = this;
    const next = articles.slice(articles.indexOf(made.at(-1) ?? articles[0]) + 1).slice(0, 1);
    arrange([...made, ...next], this.state.rules);
    if (side === "after" && ids.includes(this.#lastId)) this.#showQueued();
    this.count();
  }

  /** Removes the element of a message; the state keeps the message. @param {HTMLElement} article */
  remove(article) {
    this.#messages.delete(this.#idOf(article));
    this.#answers.delete(article.dataset.runId ?? "");
    article.remove();
  }

  /** A message without an element is rendered if it continues those in the page. @param {string} id */
  #showMessage(id) {
    const message = this.state.messages.get(id);
    if (!message) return; // of a thread
    const known = this.#messages.get(id) ?? this.#takeVersion(message);
    if (!known && !this.#continuesPage(id)) return;
    const article = known ?? this.#make(message);
    if (known) this.#adopt(article, message);
    else this.#place(article);
    arrange(known ? [article] : [article, ...this.#after(article)], this.state.rules);
  }

  /** @param {string} id @returns {boolean} */
  #continuesPage(id) {
    const ids = [...this.state.messages.keys()];
    const at = ids.indexOf(id);
    return this.#isWhole || (at === 0 ? ids.length === 1 : this.#messages.has(ids[at - 1]));
  }

  /** A thread renders all its messages, a room those near the view. */
  get #isWhole() {
    return this.thread() !== null;
  }

  get #lastId() {
    return [...this.state.messages.keys()].at(-1) ?? "";
  }

  /** @param {Message} message @returns {HTMLElement} its element, which may be that of a queued run */
  #make(message) {
    const waiting = this.#answers.get(message.run ?? "");
    const article = waiting ?? makeMessage(speakerOf(this.state, message.author), this.state);
    this.#adopt(article, message);
    return article;
  }

  /** Shows a message in an element. @param {HTMLElement} article @param {Message} message */
  #adopt(article, message) {
    this.#messages.set(message.id, article);
    if (message.run) this.#take(article, message.run);
    setIdentity(article, message, this.prefix);
    this.#fillIn(article, message);
  }

  /** Lets an element show a run, with nothing of the run before it. @param {HTMLElement} article @param {string} run */
  #take(article, run) {
    this.#endVersion(article);
    if (article.dataset.runId !== run) resetRun(article);
    article.dataset.runId = run;
    this.#answers.set(run, article);
  }

  /** Returns the element of the version that a new version replaces. @param {Message} message */
  #takeVersion({ replaces }) {
    const article = this.#messages.get(replaces ?? "");
    if (!article || !replaces) return undefined;
    this.#messages.delete(replaces);
    this.#answers.delete(article.dataset.runId ?? "");
    return article;
  }

  /** @param {HTMLElement} article @param {Message} message */
  #fillIn(article, message) {
    this.#endVersion(article);
    if (message.status !== "streaming") this.growing.drop(article);
    if (message.deleted) {
      setDeleted(article);
    } else if (message.status === "streaming" && !this.#hasStoredText(message)) {
      this.growing.set(article, this.state.live.get(message.id)?.text ?? "");
    } else {
      setWhole(article, message, this.handle);
    }
    if (message.author.kind === "persona") {
      this.#refresh(article);
    } else {
      setPersonState(article, message);
      this.acting.show(article);
    }
    setPinned(article, message, this.state.members.get(message.pinned?.by ?? "")?.name ?? "");
    setVersions(article, message);
    this.#showRights(article);
    this.#showReactions(article);
    this.hint(article, message);
  }

  /**
   * An answer that has waited has its text so far, and goes on with it: its first deltas repeat what is shown.
   * @param {Message} message
   */
  #hasStoredText({ id, text }) {
    return text !== "" && text.startsWith(this.state.live.get(id)?.text ?? "");
  }

  /** Inserts a message before the queued answers. @param {HTMLElement} article */
  #place(article) {
    const waiting = this.timeline.querySelector(".message[data-state=queued]");
    if (waiting !== article) this.timeline.insertBefore(article, waiting);
  }

  /** @param {HTMLElement} article @returns {HTMLElement[]} */
  #after(article) {
    const next = article.nextElementSibling;
    return next instanceof HTMLElement && next.matches(".message") ? [next] : [];
  }

  /** @param {string} id */
  #showText(id) {
    const article = this.#messages.get(id);
    const live = this.state.live.get(id);
    const message = article && this.messageOf(article);
    if (!article || !live || !message) return;
    if (!this.#hasStoredText(message)) this.growing.set(article, live.text);
    const state = this.state.answerState(this.messageOf(article));
    if (article.dataset.state !== state) this.#refresh(article);
  }

  /** @param {string} id @param {Frame} frame */
  #showRun(id, frame) {
    const run = /** @type {Run} */ (this.state.runs.get(id));
    this.#showRound(run);
    const article = this.#answers.get(id) ?? this.#addQueued(run);
    if (!article) return;
    if (run.replaces && !run.answer && run.state !== "queued") this.#restore(article, id);
    else if (run.state === "cancelled" && !run.answer) this.#removeQueued(article, id);
    else this.#refresh(article);
    if (frame.type === "run.started" && run.isTakenOver) this.#showTryingAgain(article, run);
    this.#refreshRights();
  }

  /** Shows the version again that a run would have replaced. @param {HTMLElement} article @param {string} run */
  #restore(article, run) {
    const message = this.messageOf(article);
    this.#answers.delete(run);
    if (!message?.run) return;
    this.#take(article, message.run);
    this.#fillIn(article, message);
  }

  /** Adds an article for a queued run; that of a new version takes the article of the version before it.
   * @param {Run} run @returns {HTMLElement | undefined} */
  #addQueued(run) {
    if (run.state !== "queued" || (run.thread ?? null) !== this.thread()) return undefined;
    if (run.replaces) {
      const shown = this.#messages.get(run.replaces);
      if (!shown) return undefined;
      this.#take(shown, run.id);
      return shown;
    }
    const last = this.#lastId;
    const isEnd = this.#isWhole || (!this.state.loaded.hasLater && (!last || this.#messages.has(last)));
    if (!isEnd) return undefined;
    const author = { kind: /** @type {const} */ ("persona"), id: run.persona, name: "", handle: "" };
    const article = makeMessage(speakerOf(this.state, author), this.state);
    article.id = `${this.prefix}message-${run.id}`;
    article.dataset.runId = run.id;
    article.dataset.at = "";
    this.#answers.set(run.id, article);
    this.timeline.append(article);
    return article;
  }

  /** @param {HTMLElement} article @param {string} run */
  #removeQueued(article, run) {
    const neighbour = article.previousElementSibling ?? article.nextElementSibling;
    const hadFocus = article.contains(document.activeElement);
    this.#answers.delete(run);
    article.remove();
    if (hadFocus && neighbour instanceof HTMLElement) neighbour.focus();
  }

  /** @param {HTMLElement} article @param {Run} run */
  #showTryingAgain(article, run) {
    setTryingAgain(article, run.attempt, this.attempts);
    setTimeout(() => {
      if (endTryingAgain(article, run.attempt)) this.#refresh(article);
    }, TRYING_AGAIN_MS);
  }

  /** Updates the rights of all answers: Retry depends on the runs that are open. */
  #refreshRights() {
    for (const article of this.#answers.values()) {
      if (this.runOf(article)) this.#showRights(article);
    }
  }

  /** Shows what a run does, and what it asks. @param {string} run */
  #showActing(run) {
    const article = this.#answers.get(run);
    if (article) this.#refresh(article);
  }

  /** @param {Run | undefined} run @param {Message | null} message its answer @returns {WaitsFor} */
  #waitsFor(run, message) {
    const { asks } = this.state;
    const open = asks.open.filter(({ ask }) => ask.run === run?.id);
    if (open.some((ask) => asks.isMine(ask))) return "me";
    if (open.length) return "people";
    return message?.steps?.some(({ state }) => state === "running") ? "answer" : "nothing";
  }

  /** Shows the step of a round that a run is. @param {Run} run */
  #showRound(run) {
    const message = run.round ? this.state.messages.get(run.message) : undefined;
    const article = message && this.#messages.get(message.id);
    if (article) this.acting.show(article);
  }

  #showSpeakers() {
    for (const [id, article] of this.#messages) {
      const message = this.state.messages.get(id);
      if (message) setSpeaker(article, speakerOf(this.state, message.author), this.state);
    }
  }

  /** Renders a new state of the room: known messages keep their elements, others are removed. */
  #showEverything() {
    for (const message of this.state.messages.values()) {
      const replaced = this.#takeVersion(message);
      if (replaced) this.#messages.set(message.id, replaced);
    }
    for (const [id, article] of this.#messages) if (!this.state.messages.has(id)) this.remove(article);
    const open = new Set(this.state.openRuns.map(({ id }) => id));
    const kept = new Set(this.#messages.values());
    for (const [id, article] of this.#answers) {
      if (kept.has(article)) continue;
      if (article.isConnected && (open.has(id) || this.state.runs.get(id)?.answer)) continue;
      article.remove();
      this.#answers.delete(id);
    }
    for (const line of this.timeline.querySelectorAll("[data-day]")) line.remove();
    const known = [...this.state.messages.keys()].filter((id) => this.#isWhole || this.#messages.has(id));
    for (const id of known) this.#showMessage(id);
    this.#sort(known);
    this.#showQueued();
    if (!known.length) this.add("after", [...this.state.messages.keys()].slice(-NEWEST));
    arrange(this.articles, this.state.rules);
  }

  /** Shows the queued runs behind the newest message. */
  #showQueued() {
    for (const run of this.state.openRuns) if (!run.answer) this.#refreshQueued(run);
  }

  /** @param {Run} run */
  #refreshQueued(run) {
    const article = this.#answers.get(run.id) ?? this.#addQueued(run);
    if (!article) return;
    this.#take(article, run.id);
    this.#refresh(article);
  }

  /**
   * Puts messages in the order of the state; those that are in order are not moved: one may have the focus.
   * @param {string[]} ids
   */
  #sort(ids) {
    /** @type {HTMLElement | null} */
    let before = null;
    for (const article of ids.flatMap((id) => this.#messages.get(id) ?? [])) {
      if (before && messageBefore(article) !== before) before.after(article);
      before = article;
    }
  }

  /** Removes the unread line: the reader leaves the room. */
  removeUnreadLine() {
    removeUnreadLine(this.timeline, this.state.rules);
  }

  /** Adds the unread line, or moves it there. @param {string} id of the first unread message */
  moveUnreadLine(id) {
    removeUnreadLine(this.timeline, this.state.rules);
    this.markUnread(id);
  }

  /** Adds the unread line, unless there is one. @param {string} id of the first unread message */
  markUnread(id) {
    const article = this.#messages.get(id);
    if (!article || this.timeline.querySelector("[data-unread]")) return;
    const all = this.articles;
    putUnreadLine(article, all[all.indexOf(article) - 1] ?? null, this.state.rules);
  }
}

/** @param {Element} tools @returns {boolean} whether the pointer, the focus, the tab stop or a menu is there */
function areInUse(tools) {
  return tools.matches(":is(:hover, :focus-within, [tabindex='0']) > *, :has([aria-expanded='true'])");
}

/** @param {Element} article @returns {Element | null} the message before it; other elements may be between them */
function messageBefore(article) {
  let before = article.previousElementSibling;
  while (before && !before.matches(".message")) before = before.previousElementSibling;
  return before;
}
