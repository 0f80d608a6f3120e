// @ts-check
// The panel of a thread beside the room: its messages, its composer, and whether the reader follows it. It is the entry
// of the bundle `thread`, which threads.js loads.

import { Composer } from "../composer/composer.js";
import { draftOf } from "../composer/drafts.js";
import { showUnsentMessages, startUnsentMessages } from "../composer/unsent_messages.js";
import { callApi } from "../connection/api.js";
import { part, setText } from "../elements.js";
import { startAnswerButtons } from "../timeline/answer_buttons.js";
import { startCopyButtons } from "../timeline/copy_buttons.js";
import { startKeyboardNavigation } from "../timeline/keyboard_navigation.js";
import { startMessageTools } from "../timeline/message_tools.js";
import { ReadPosition } from "../timeline/read_position.js";
import { Scroll } from "../timeline/scroll.js";
import { startSteering } from "../timeline/steer_button.js";
import { TimelineView } from "../timeline/timeline_view.js";
import { startVersions } from "../tools/versions.js";
import { startVotes } from "../tools/votes.js";
import { fill, gettext, ngettext } from "../../maru/translations.js";
import { threadState } from "./thread_state.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Change} Change */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../connection/outbox.js").Entry} Entry */

/** What the panel needs from the page of the room.
 * @typedef {{
 *   state: RoomState,
 *   handle: string,
 *   attempts: number,
 *   count: () => void,
 *   apply: (frame: Frame) => void,
 *   join: () => void,
 *   request: (command: Command) => Promise<any>,
 *   send: (command: Command) => boolean,
 *   steer: (run: string, text: string) => Promise<string>,
 *   outbox: () => import("../connection/outbox.js").Outbox,
 *   showError: (error: unknown) => void,
 *   tell: (sentence: string) => void,
 *   mirror: (line: HTMLElement) => void,
 *   findMembers: (words: string) => void,
 *   unusable: string[],
 *   signal: AbortSignal,
 *   pickEmoji: (anchor: HTMLElement, onPick: (emoji: string) => void) => void,
 *   serveMenu: (view: TimelineView) => void,
 *   onRead: (root: string) => void,
 *   onMove: (from: string, to: string) => void,
 *   onFollow: (root: string, following: boolean, unread: number) => void,
 * }} Page */

export class ThreadPanel {
  #isFollowing = false;
  /** Whether the reader has replied since the panel shows this thread: a response may be older. */
  #hasReplied = false;
  /** Whether the messages of the thread could not be loaded. */
  #hasFailed = false;
  /** @type {import("./thread_state.js").Shown} */
  #shown = { root: null, messagesComplete: true };

  /** @param {HTMLElement} aside @param {Page} page */
  constructor(aside, page) {
    this.aside = aside;
    this.page = page;
    this.state = threadState(page.state, this.#shown);
    this.timeline = part(aside, "[data-timeline]");
    this.counter = part(aside, "[data-thread-count]");
    this.earlier = part(aside, "[data-earlier]");
    const keepPlace = (/** @type {() => void} */ change) => this.scroll.keep(change);
    const options = { handle: page.handle, attempts: page.attempts, count: page.count, keepPlace, prefix: "thread-" };
    this.view = new TimelineView(this.timeline, this.state, { ...options, thread: () => this.root });
    this.scroll = new Scroll(part(aside, "[data-scroll]"), part(aside, "[data-newer]"), {
      onMove: () => this.read.schedule(),
      reachesEnd: () => true,
      toNewest: () => this.scroll.toEnd(),
    });
    const { signal } = page;
    this.read = new ReadPosition({ seen: () => this.#seen(), send: (seq) => this.#sendRead(seq), sent: 0, signal });
    this.also = /** @type {HTMLInputElement} */ (part(aside, "[data-also]"));
    this.composer = this.#startComposer();
    page.mirror(part(aside, "[data-line]"));
    const { showError } = page;
    const actions = { request: page.request, showError };
    startUnsentMessages(part(aside, "[data-outgoing]"), page.outbox(), this.composer);
    startAnswerButtons(this.timeline, this.view, actions);
    const quote = (/** @type {string} */ text) => this.composer.quote(text);
    this.tools = startMessageTools(this.timeline, this.view, { ...actions, quote, pickEmoji: page.pickEmoji });
    startVersions(this.timeline, this.view, showError);
    startSteering(this.view, (run, name) => this.composer.startSteering(run.id, name));
    this.view.acting.begin({ ...actions, apply: page.apply, tell: page.tell });
    page.serveMenu(this.view);
    this.votes = startVotes(this.view, { apply: page.apply, showError });
    startCopyButtons(this.timeline, (article) => this.view.shownOf(article)?.text ?? "");
    startKeyboardNavigation(this.timeline, (article) => this.view.addTools(article));
    this.earlier.addEventListener("click", (event) => void this.#loadEarlier(event));
    part(aside, "[data-follow]").addEventListener("submit", (event) => void this.#onFollow(event));
  }

  /** @returns {string | null} the root of the thread that is shown */
  get root() {
    return this.#shown.root;
  }

  /** Shows a thread that the server has rendered. @param {any} data */
  begin(data) {
    this.#shown.root = data.root;
    this.page.apply({ type: "thread.opened", root: data.root });
    this.#take(data);
    this.view.register(this.view.articles);
    this.#begun();
    const linked = location.hash && this.timeline.querySelector(`#${CSS.escape(location.hash.slice(1))}`);
    if (linked) this.scroll.begin(linked);
  }

  /** Shows a thread after its messages are loaded. @param {string} root */
  async open(root) {
    this.close();
    this.#shown.root = root;
    this.aside.dataset.thread = root;
    this.page.apply({ type: "thread.opened", root });
    this.#showAll();
    this.composer.open(this.#draftOf(root));
    this.#begun();
    const data = await this.#fetch("");
    if (!data || !this.#isShown(root, data)) return;
    this.#take(data);
    this.scroll.keep(() => this.#showAll());
    this.scroll.toEnd();
  }

  close() {
    const { root } = this;
    if (!root) return;
    this.#shown.root = null;
    this.page.apply({ type: "thread.closed", root });
    this.#hasFailed = false;
    this.view.clear();
    this.counter.hidden = true;
  }

  /** Loads the messages that could not be loaded before. */
  reload() {
    void this.view.acting.settle();
    if (this.root && this.#hasFailed) void this.#reload();
  }

  /** @param {Change[]} changes @param {Frame} frame */
  show(changes, frame) {
    this.#showResponders(changes);
    if (frame.run?.ended_at) this.composer.endSteering(frame.run.id);
    if (!this.root) return;
    this.#followRoot();
    const mine = frame.type === "message.created" && frame.message.thread === this.root;
    const added = mine && frame.message.author.id !== this.state.me ? 1 : 0;
    if (mine && !added) this.#hasReplied = true;
    if (mine && !added) this.#setFollowing(true); // who replies follows
    // New text of answers changes the page in the next animation frame.
    if (changes.every(({ what }) => what === "text")) return this.view.show(changes, frame);
    this.scroll.keep(() => {
      this.view.show(changes, frame);
      this.#order();
    }, added);
    if (changes.some(({ what }) => what === "everything")) void this.#reload();
    if (changes.some(({ what }) => what === "message")) void this.votes.load();
    this.view.acting.look();
    this.#showCounts();
  }

  /** @param {Entry[]} entries the messages that are not confirmed yet */
  showUnsent(entries) {
    const mine = entries.filter(({ reply_to: to }) => to === this.root);
    this.scroll.keep(() => showUnsentMessages(part(this.aside, "[data-outgoing]"), mine));
  }

  /** Shows who answers a reply. @param {Change[]} changes */
  #showResponders(changes) {
    const seen = new Set(changes.map(({ what }) => what));
    const matter = /** @type {const} */ (["room", "people", "message", "run"]);
    if (seen.has("everything") || seen.has("personas")) this.composer.answers.list();
    else if (matter.some((what) => seen.has(what))) this.composer.answers.show();
  }

  /** @param {string} root */
  #draftOf(root) {
    return draftOf(this.page.state.me, `${this.page.state.room.id}.${root}`);
  }

  #startComposer() {
    const { page } = this;
    const form = /** @type {HTMLFormElement} */ (part(this.aside, "[data-composer]"));
    // Ctrl+Enter also sends the reply to the room. Before the composer, which sends at Enter.
    form.addEventListener(
      "keydown",
      (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) this.also.checked = true;
      },
      { capture: true },
    );
    return new Composer(form, page.state, {
      send: (text, personas, inTurn) => {
        if (!this.root) return;
        const place = { reply_to: this.root, also_in_room: this.also.checked };
        page.outbox().add(text, personas, inTurn ? { ...place, in_turn: true } : place);
        this.also.checked = false;
        this.scroll.toEnd();
      },
      steer: page.steer,
      typing: () => page.send({ type: "member.type", room: page.state.room.id }),
      findMembers: page.findMembers,
      unusable: page.unusable,
      place: () => this.state.place,
      draft: this.#draftOf(this.aside.dataset.thread ?? ""),
      editLast: () => this.tools.editLast(),
      pickEmoji: page.pickEmoji,
      isMain: false,
      signal: this.page.signal,
    });
  }

  #begun() {
    this.#hasReplied = false;
    this.read.restart();
    this.#showCounts();
    this.scroll.toEnd();
  }

  /** @param {any} data of the server @returns {void} */
  #take({ root, messages, runs, members, complete, following, unread }) {
    this.page.apply({ type: "thread.loaded", root, messages, runs, members });
    this.#shown.messagesComplete = complete;
    this.#setFollowing(following || this.#hasReplied);
    this.page.onFollow(root, this.#isFollowing, this.#hasReplied ? 0 : unread);
    this.composer.answers.show();
    void this.votes.load();
    const open = [...this.state.messages.values()].some(({ id, status }) => status === "streaming" && !this.state.live.has(id));
    if (open) this.page.join(); // the snapshot has the text of answers that were not loaded
  }

  /** Renders all messages, in order; known ones keep their elements. */
  #showAll() {
    this.view.show([{ what: "everything" }], { type: "thread.loaded" });
    this.#order();
    this.#showCounts();
  }

  /** Puts the number of replies below the root. */
  #order() {
    const root = this.view.articles[0];
    if (root && root.nextElementSibling !== this.counter) root.after(this.counter, this.earlier);
  }

  #showCounts() {
    const root = this.state.messages.get(this.root ?? "");
    const count = root?.replies?.count ?? 0;
    this.counter.hidden = !count;
    const words = fill(ngettext("%(count)s reply", "%(count)s replies", count), { count });
    setText(this.counter, "[data-thread-count-words]", words);
    this.earlier.hidden = this.state.messagesComplete;
    const mayWrite = this.state.permissions.has("post") && !(root?.deleted && !count);
    part(this.aside, "[data-writing]").hidden = !mayWrite;
    part(this.aside, "[data-thread-deleted]").hidden = !(root?.deleted && !count);
  }

  /** Shows the thread of the new version after an answer with replies was replaced. */
  #followRoot() {
    const { root } = this;
    const moved = this.page.state.threads.current(root ?? "");
    if (!root || moved === root) return;
    this.#shown.root = moved;
    this.aside.dataset.thread = moved;
    const draft = this.#draftOf(moved);
    draft.keep(this.composer.field.value);
    this.#draftOf(root).keep("");
    this.composer.draft = draft;
    this.page.onMove(root, moved);
    void this.#reload(); // the thread may have moved while it was loaded
  }

  /** Returns whether the panel still shows the thread that was loaded; follows a root that was replaced.
   * @param {string | null} root when the load began @param {any} data */
  #isShown(root, data) {
    if (root && this.root === root && data.root !== root) {
      this.page.apply({ type: "thread.moved", root, to: data.root });
      return false; // it is loaded again
    }
    return this.root === data.root;
  }

  /** Loads what a new state of the room lacks. */
  async #reload() {
    const { root } = this;
    const data = await this.#fetch("");
    if (!data || !this.#isShown(root, data)) return;
    this.#take(data);
    this.scroll.keep(() => this.#showAll());
  }

  /** @param {Event} event */
  async #loadEarlier(event) {
    event.preventDefault();
    const [, first] = this.state.messages.values();
    const { root } = this;
    const data = first && (await this.#fetch(`?before=${first.seq}`));
    if (!data || this.root !== root) return;
    this.#take(data);
    this.scroll.keep(() => this.#showAll());
  }

  /** @param {string} query @returns {Promise<any>} null after a failure, which the panel shows */
  async #fetch(query) {
    const { root } = this;
    try {
      const answer = await fetch(`${this.aside.dataset.roomUrl}threads/${root}/data/${query}`);
      if (!answer.ok) throw new Error(String(answer.status));
      const data = await answer.json();
      if (this.root === root && !query) this.#hasFailed = false;
      return data;
    } catch {
      if (this.root !== root) return null;
      if (!query) this.#hasFailed = true; // loaded again when there is a connection
      this.page.tell(gettext("The replies could not be loaded. Try again."));
      return null;
    }
  }

  /** @param {Event} event */
  async #onFollow(event) {
    event.preventDefault();
    const { root } = this;
    const on = !this.#isFollowing;
    if (!root) return;
    this.#setFollowing(on);
    try {
      await callApi(on ? "PUT" : "DELETE", `/messages/${root}/follow`);
      this.page.onFollow(root, on, 0);
    } catch (error) {
      this.#setFollowing(!on);
      this.page.showError(error);
    }
  }

  /** @param {boolean} following */
  #setFollowing(following) {
    this.#isFollowing = following;
    part(this.aside, "[data-follow-button]").setAttribute("aria-pressed", String(following));
    setText(this.aside, "[data-follow-words]", following ? gettext("Following") : gettext("Follow"));
  }

  /** @returns {number} the seq of the last message in view */
  #seen() {
    if (!this.root) return 0;
    if (this.scroll.atEnd) return this.page.state.seq;
    return Number(this.scroll.lastSeen(this.view.articles)?.dataset.seq ?? 0);
  }

  /** @param {number} seq @returns {boolean} */
  #sendRead(seq) {
    if (!this.root) return false;
    // Nothing waits for the answer.
    if (!this.page.send({ type: "thread.read", ref: `read-${seq}`, message: this.root, seq })) return false;
    if (this.scroll.atEnd) this.page.onRead(this.root);
    return true;
  }
}
