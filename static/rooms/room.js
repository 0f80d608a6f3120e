// @ts-check
// One open room: creates its modules and connects them. A room that is not shown follows its events, and
// renders what they have changed when it is shown again.

import { Announcer, sentenceFor } from "./announcements.js";
import { Composer } from "./composer/composer.js";
import { draftOf } from "./composer/drafts.js";
import { History } from "./history/history.js";
import { localStorageOrNone, Outbox } from "./connection/outbox.js";
import { showUnsentMessages, startUnsentMessages } from "./composer/unsent_messages.js";
import { endWelcome, startWelcome } from "./composer/welcome.js";
import { MemberLoader } from "./member_loader.js";
import { Panel, startPanelToggle } from "./panel.js";
import { part, setText } from "./elements.js";
import { arrivalTime, readPageData } from "./open/page_data.js";
import { readCards } from "./acting/ask_state.js";
import { WaitingList } from "./acting/waiting_list.js";
import { ReadPosition } from "./timeline/read_position.js";
import { StatusLine } from "./composer/status_line.js";
import { RoomState } from "./room_state.js";
import { startRoomTools } from "./open/room_tools.js";
import { setCallWords } from "./acting/call_words.js";
import { failureWords, setFailures } from "./failures.js";
import { isInRoom } from "./threads/open_threads.js";
import { Threads } from "./threads/threads.js";
import { titleOf, writeWords } from "./room_title.js";
import { setLookAlikes } from "./namesakes.js";
import { Scroll } from "./timeline/scroll.js";
import { CommandRefused, ConnectionLost } from "./connection/socket.js";
import { RoomSync } from "./connection/room_sync.js";
import { startJumps } from "./history/jumps.js";
import { TimelineView } from "./timeline/timeline_view.js";
import { keepNewest, TimelineWindow } from "./history/timeline_window.js";
import { startKeyboardNavigation } from "./timeline/keyboard_navigation.js";
import { addRoomMentions, setRoomCounts, setRoomLine, setRoomWorking } from "../maru/sidebar.js";
import { gettext } from "../maru/translations.js";

/** @typedef {import("./protocol.js").Command} Command */
/** @typedef {import("./protocol.js").Frame} Frame */
/** @typedef {import("./room_state.js").Change} Change */
/** @typedef {import("./open/navigation.js").Screen} Screen */
/** @typedef {import("./connection/socket.js").ConnectionState} ConnectionState */

/** What the open rooms of a window share.
 * @typedef {{
 *   shell: HTMLElement,
 *   socket: import("./connection/socket.js").RoomSocket,
 *   clock: import("./server_clock.js").Clock,
 *   count: () => void,
 *   showPresence: (user: string) => void,
 * }} Shared */

export class OpenRoom {
  #closed = new AbortController();
  #begun = false;
  #shown = false;
  /** Changes that are not rendered, while the room is not shown. @type {Map<string, Change>} */
  #unrendered = new Map();
  /** The scroll position when the room was left; null at the end. @type {number | null} */
  #scrollTop = null;

  /** @param {Screen} screen @param {Shared} shared */
  constructor(screen, shared) {
    const { main } = screen;
    const data = readPageData(main);
    this.screen = screen;
    this.shared = shared;
    this.page = part(main, "[data-conversation]");
    this.timeline = part(this.page, "[data-timeline]");
    setLookAlikes(data.look_alikes);
    setFailures(data.failures);
    setCallWords(data.calls);
    this.state = new RoomState(data.state, data.seq, data.me, data.layout);
    this.state.apply({ type: "history.loaded", ...loadedPart(data), runs: data.ended });
    readCards(this.timeline, this.state.asks);
    this.linked = data.linked;
    this.id = this.state.room.id;
    shared.clock.addSample(data.now, arrivalTime());
    this.#makeParts(data);
    this.#start();
    this.threads.begin(data.thread);
  }

  /** @param {any} data of the page */
  #makeParts(data) {
    const { page, state, shared } = this;
    const { signal } = this.#closed;
    const { handle, attempts } = data;
    this.threads = this.#makeThreads(data);
    keepNewest(this.timeline, linkedMessage() ?? data.linked);
    this.view = new TimelineView(this.timeline, state, {
      handle,
      attempts,
      count: shared.count,
      keepPlace: (change) => this.scroll.keep(change),
      hint: (article, message) => this.threads.hint(article, message),
    });
    this.memberLoader = new MemberLoader(state, (members) => {
      this.sync.apply({ type: "members.loaded", members });
      this.composer.picker.refresh();
    });
    this.panel = new Panel(/** @type {HTMLElement} */ (this.screen.aside), state, data.roles, this.memberLoader);
    this.waiting = new WaitingList(this.screen.main, this.panel.panel, state, (ask) => void this.#openAsk(ask));
    this.statusLine = new StatusLine(part(page, "[data-line]"), page, (user) => this.#nameOf(user));
    this.announcer = new Announcer(page);
    this.scroll = new Scroll(part(page, "[data-scroll]"), part(page, "[data-newer]"), {
      onMove: () => this.#onMove(),
      reachesEnd: () => this.window.reachesEnd,
      toNewest: () => void this.#toNewest(),
    });
    this.history = new History(state, (frame) => this.sync.apply(frame));
    this.window = new TimelineWindow(this.view, this.scroll, this.history);
    this.readPosition = new ReadPosition({
      seen: () => this.#seqInView(),
      send: (seq) => this.#sendRead(seq),
      sent: data.read_seq,
      signal,
    });
    this.sync = new RoomSync(state, {
      request: (command) => shared.socket.request(command),
      show: (changes, frame, since) => this.#show(changes, frame, since),
      refused: (error) => this.#onJoinRefused(error),
    });
    this.outbox = this.#makeOutbox();
    this.composer = this.#makeComposer(data.unusable);
  }

  /** @param {any} data of the page */
  #makeThreads({ handle, attempts, unusable, unread, mentions }) {
    const { state, shared } = this;
    const { signal } = this.#closed;
    const page = {
      state,
      handle,
      attempts,
      unusable,
      signal,
      count: shared.count,
      apply: (/** @type {Frame} */ frame) => this.sync.apply(frame),
      join: () => void this.sync.join(),
      request: (/** @type {Command} */ command) => shared.socket.request(command),
      send: (/** @type {Command} */ command) => shared.socket.send(command),
      steer: this.steer,
      outbox: () => this.outbox,
      tell: this.tell,
      mirror: (/** @type {HTMLElement} */ line) => this.statusLine.mirror(line),
      showError: (/** @type {unknown} */ error) => this.announcer.say(this.statusLine.commandFailed(error)),
      findMembers: (/** @type {string} */ words) => this.memberLoader.find(words),
      pickEmoji: (/** @type {HTMLElement} */ anchor, /** @type {(emoji: string) => void} */ onPick) =>
        this.tools.pickEmoji(anchor, onPick),
      serveMenu: (/** @type {TimelineView} */ view) => this.tools.menu.serve(view),
    };
    const counts = { unread, mentions };
    return new Threads(shared.shell, this.screen, this.timeline, page, counts, (more) => addRoomMentions(this.id, more));
  }

  #makeOutbox() {
    const { state, id: room } = this;
    return new Outbox({
      key: `maru.outbox.${state.me}.${room}`,
      storage: localStorageOrNone(),
      send: ({ client_id, text, personas, reply_to = null, also_in_room, in_turn }) =>
        this.shared.socket.request({
          type: "message.send",
          room,
          client_id,
          text,
          reply_to,
          personas,
          mentions_first: true,
          ...(reply_to ? { also_in_room } : {}),
          ...(in_turn ? { in_turn } : {}),
        }),
      show: (entries) => {
        const inRoom = entries.filter(({ reply_to }) => !reply_to);
        this.scroll.keep(() => showUnsentMessages(part(this.page, "[data-outgoing]"), inRoom));
        this.threads.showUnsent(entries);
      },
    });
  }

  /** @param {string[]} unusable the personas that the reader may not ask */
  #makeComposer(unusable) {
    const { state, id: room } = this;
    const { socket } = this.shared;
    return new Composer(/** @type {HTMLFormElement} */ (part(this.page, "[data-composer]")), state, {
      send: (text, personas, inTurn) => {
        endWelcome(this.page);
        this.outbox.add(text, personas, inTurn ? { in_turn: true } : {});
        this.readPosition.release();
        void this.#toNewest();
      },
      steer: this.steer,
      editLast: () => this.tools.editLast(),
      pickEmoji: (anchor, onPick) => this.tools.pickEmoji(anchor, onPick),
      typing: () => socket.send({ type: "member.type", room }),
      findMembers: (words) => this.memberLoader.find(words),
      unusable,
      draft: draftOf(state.me, room),
      signal: this.#closed.signal,
    });
  }

  #start() {
    const { timeline, page, shared } = this;
    const { signal } = this.#closed;
    startPanelToggle(shared.shell, this.screen, signal);
    startKeyboardNavigation(timeline, (article) => this.view.addTools(article));
    this.tools = startRoomTools(this, {
      tell: this.tell,
      apply: (frame) => this.#show(this.state.apply(frame), frame),
      signal,
    });
    startJumps(this, this.tell);
    startWelcome(page, this.composer.field);
    startUnsentMessages(part(page, "[data-outgoing]"), this.outbox, this.composer);
    this.panel.showToday();
    this.panel.showWork();
    this.waiting.show();
  }

  /** @param {string} run @param {string} text @returns {Promise<string>} why the line was refused; "" if it was not */
  steer = async (run, text) => {
    try {
      await this.shared.socket.request({ type: "run.steer", run, text });
      return "";
    } catch (error) {
      return error instanceof CommandRefused ? error.message : this.statusLine.commandFailed(error);
    }
  };

  /** Shows and announces a sentence. @param {string} sentence */
  tell = (sentence) => {
    this.statusLine.notice(sentence);
    this.announcer.say(sentence);
  };

  /** Shows the room, which is in the page now. */
  show() {
    this.#shown = true;
    if (this.#begun) this.#resume();
    else this.#begin();
    for (const user of this.state.online) this.shared.showPresence(user);
    this.panel.showWork();
    this.#onMove();
    this.shared.count();
  }

  #begin() {
    this.#begun = true;
    const id = linkedMessage() ?? this.linked;
    const target = id && this.timeline.querySelector(`#message-${id}`);
    this.scroll.begin(target || this.timeline.querySelector("[data-unread]"));
    if (id && !target) void this.showMessage(id);
  }

  /** Renders what has changed while the room was not shown. */
  #resume() {
    this.scroll.box.scrollTop = this.#scrollTop ?? 0;
    void this.view.acting.settle();
    const changes = [...this.#unrendered.values()];
    this.#unrendered.clear();
    // Text that was due when the room was left was not shown.
    for (const message of this.state.live.keys()) changes.push({ what: "text", message });
    if (changes.length) this.#render(changes, { type: "room.shown" });
    const [unread] = this.state.messagesAfter(this.readPosition.sent);
    if (!unread || this.#scrollTop !== null) return;
    this.view.markUnread(unread.id);
    this.scroll.begin(this.timeline.querySelector("[data-unread]"));
  }

  #onMove() {
    this.readPosition.schedule();
    if (this.#shown) this.window.settle();
  }

  /** Scrolls to the newest message, which may have to be loaded. */
  async #toNewest() {
    if (this.state.loaded.hasLater) await this.sync.join({ fullState: true });
    if (!this.window.reachesEnd) this.window.showAround(null);
    this.scroll.toEnd();
  }

  /**
   * Shows a message with its surroundings, wherever it is in the history of the room.
   * @param {string} id @returns {Promise<boolean>} false if the message could not be loaded
   */
  async showMessage(id) {
    if (!this.state.messages.has(id) && !(await this.history.jump({ around: id }))) return false;
    if (!this.state.messages.has(id)) return false; // a reply: its address leads to its thread
    if (!this.view.messages.includes(id)) this.window.showAround(id);
    const article = part(this.timeline, `#message-${id}`);
    this.scroll.begin(article);
    article.focus({ preventScroll: true });
    return true;
  }

  /** The room is still in the page. */
  hide() {
    this.readPosition.flush();
    this.#shown = false;
    this.#scrollTop = this.scroll.atEnd ? null : this.scroll.box.scrollTop;
    this.composer.picker.close();
    this.threads.close({ push: false });
    this.view.removeUnreadLine();
    this.announcer.clear();
    if (!this.state.loaded.hasLater) return;
    // What arrives while the room is not shown is counted behind its newest messages.
    this.#scrollTop = null;
    void this.sync.join({ fullState: true });
  }

  /** The room will not be shown again. */
  close() {
    this.#closed.abort();
  }

  /** @param {Frame} frame of this room */
  receive(frame) {
    this.sync.receive(frame);
  }

  /** @param {Change[]} changes @param {Frame} frame @param {number} [since] the seq before the frame */
  #show(changes, frame, since = -1) {
    this.threads.count(frame, since);
    if (this.#shown) {
      this.#render(changes, frame);
      if (frame.type !== "room.snapshot" && this.threads.shows(frame)) this.announcer.say(sentenceFor(frame, this.state, changes));
    } else {
      for (const change of changes) this.#unrendered.set(JSON.stringify(change), change);
      this.#showElsewhere(changes);
    }
    if (changes.some(({ what }) => what === "rights")) void this.sync.join({ fullState: true });
    if (frame.type === "message.created") this.#onMessage(frame);
    if (frame.type === "run.completed") this.panel.count(frame.run);
    if (frame.type === "message.updated" || frame.type === "message.deleted") this.#showLastMessage();
    const steering = frame.type === "message.updated" ? frame.message.steered?.at(-1) : undefined;
    if (steering?.state === "accepted") this.statusLine.stopped(steering.by); // who steers has typed
  }

  /** @param {Change[]} changes @param {Frame} frame */
  #render(changes, frame) {
    if (changes.every(({ what }) => what === "text")) return this.#renderTexts(changes, frame);
    const follows = this.scroll.atEnd;
    this.scroll.keep(() => this.view.show(changes, frame), this.#addedByOthers(frame));
    this.threads.show(changes, frame);
    const seen = new Set(changes.map(({ what }) => what));
    if (seen.has("everything")) this.#showFullState();
    if (seen.has("everything") && follows) void this.#toNewest();
    if (seen.has("room")) this.#showRoom();
    // Both: a new name may be like that of a person and of a persona, and then their handles are shown.
    if (seen.has("people") || seen.has("personas")) {
      this.panel.showPeople();
      this.#showPersonas();
      if (this.state.room.direct) this.#showRoom();
    }
    if (seen.has("pins")) this.panel.showPins();
    if (seen.has("everything") || seen.has("message")) void this.tools.votes.load();
    if (seen.has("run")) this.#showRuns(frame);
    if (seen.has("everything") || seen.has("ask") || seen.has("run")) this.#showAsks();
    for (const change of changes) {
      if (change.what === "typing" && change.user !== this.state.me) this.statusLine.typing(change.user);
      if (change.what === "presence") this.shared.showPresence(change.user);
    }
    this.shared.count();
  }

  /** New text of answers changes the page in a later animation frame. @param {Change[]} changes @param {Frame} frame */
  #renderTexts(changes, frame) {
    this.view.show(changes, frame);
    this.threads.show(changes, frame);
  }

  #showFullState() {
    this.#showRoom();
    this.#showPersonas();
    this.panel.showPeople();
    this.panel.showPins();
    const mayPost = this.state.permissions.has("post");
    part(this.page, "[data-writing]").hidden = !mayPost;
    part(this.page, "[data-reading]").hidden = mayPost || this.state.room.archived;
    part(this.page, "[data-archived]").hidden = !this.state.room.archived;
  }

  #showRoom() {
    const { topic } = this.state.room;
    const name = titleOf(this.state);
    const { main } = this.screen;
    setText(main, "[data-room-name]", name);
    setText(main, "[data-room-topic]", topic);
    part(main, "[data-room-topic]").hidden = !topic;
    document.title = this.screen.title = `${name} · Maru`;
    this.composer.rename(writeWords(this.state));
    this.composer.answers.show();
    this.panel.showPersonas();
  }

  #showPersonas() {
    this.panel.showPersonas();
    this.composer.answers.list();
    this.shared.count();
  }

  /** Shows what waits for people, and requests what the cards of the reader need. */
  #showAsks() {
    this.panel.showWork();
    this.waiting.show();
    this.view.acting.look();
  }

  /** Shows a card and focuses it, never a button of it. @param {import("./acting/ask_state.js").Ask} item */
  async #openAsk({ ask }) {
    const { thread } = this.state.runs.get(ask.run) ?? {};
    const isReply = thread && !this.state.messages.has(ask.message);
    if (isReply) await this.threads.open(thread);
    else await this.showMessage(ask.message);
    if (!(await (isReply ? this.threads : this.view.acting).ready())) return;
    (document.getElementById(`ask-${ask.id}`) ?? document.getElementById(`thread-ask-${ask.id}`))?.focus();
  }

  /** @param {Frame} frame */
  #showRuns({ type, run }) {
    this.panel.showWork();
    if (run?.ended_at) this.composer.endSteering(run.id);
    const isVersion = run?.replaces && !run.answer;
    if (type === "run.failed" && isVersion) this.statusLine.notice(failureWords(run.error));
  }

  /** @param {Frame} frame */
  #onMessage({ message }) {
    if (message.author.kind !== "user") return;
    if (message.author.id === this.state.me) this.outbox.arrived(message.text, Boolean(message.thread));
    this.statusLine.stopped(message.author.id);
    if (!isInRoom(message)) return;
    setRoomLine(this.id, `${message.author.name}: ${message.text.slice(0, 120)}`);
    if (message.author.id !== this.state.me && this.#shown && document.hidden && this.scroll.atEnd) this.view.markUnread(message.id);
  }

  /** Shows the current last message in the sidebar after an edit or a deletion. */
  #showLastMessage() {
    const last = this.state.lastMessage;
    setRoomLine(this.id, last ? `${last.author.name}: ${last.text.slice(0, 120)}` : "");
  }

  /**
   * Shows in the sidebar what happens in a room that is not shown: the server sends counts only for rooms that
   * are not joined.
   * @param {Change[]} changes
   */
  #showElsewhere(changes) {
    if (changes.some(({ what }) => what === "run")) {
      setRoomWorking(this.id, this.state.openRuns.some(({ state }) => state === "running"));
    }
    if (changes.some(({ what }) => what === "message")) this.#showCounts();
    if (changes.some(({ what }) => what === "ask" || what === "everything")) this.waiting.showInSidebar();
  }

  /** Shows in the sidebar what is unread here: messages of the room, and mentions in threads. */
  #showCounts() {
    const unread = this.state.messagesAfter(this.readPosition.sent);
    const chip = `class="mention" data-handle="${this.view.handle}"`;
    const mentions = unread.filter(({ html }) => html.includes(chip)).length;
    setRoomCounts(this.id, { unread: unread.length, mentions: mentions + this.threads.mentions });
  }

  /** @param {Frame} frame @returns {number} */
  #addedByOthers({ type, message }) {
    const isNew = type === "message.created" && !message.replaces;
    return isNew && isInRoom(message) && message.author.id !== this.state.me ? 1 : 0;
  }

  /** The reader has lost the room. */
  leave() {
    const { main } = this.screen;
    this.threads.end();
    this.timeline.replaceChildren();
    const pins = this.screen.aside?.querySelector("[data-panel-pins]");
    pins?.replaceChildren(); // they contain text of messages, too
    part(this.page, "[data-writing]").hidden = true;
    part(this.page, "[data-reading]").hidden = true;
    this.announcer.clear(); // it may have the text of a message
    part(main, ".room-head .header-actions").hidden = true;
    if (this.#shown) this.shared.shell.dataset.aside = "none";
    this.statusLine.showEnd("gone");
    this.announcer.sayNow(gettext("You no longer have access to this room."));
    this.close();
  }

  /** @param {ConnectionState} connection */
  onConnection(connection) {
    this.statusLine.connection(connection);
    if (connection === "open") {
      void this.sync.join();
      void this.outbox.flush();
      this.window.retry();
      void this.view.acting.settle();
      this.threads.reload();
    } else if (connection === "signed_out") {
      this.announcer.sayNow(gettext("You are signed out. What you wrote is kept in this browser."));
    } else if (connection === "waiting") {
      this.announcer.say(gettext("Reconnecting. What you write is kept."));
    } else if (connection === "gone") {
      this.leave();
    }
  }

  /** @param {unknown} error */
  #onJoinRefused(error) {
    if (error instanceof ConnectionLost || this.#closed.signal.aborted) return;
    if (!(error instanceof CommandRefused)) throw error;
    if (error.code === "not_found") return this.leave();
    const { socket } = this.shared;
    setTimeout(() => socket.state === "open" && this.sync.join(), (error.retryAfter ?? 3) * 1000);
  }

  /** @param {string} user @returns {string} */
  #nameOf(user) {
    return this.state.members.get(user)?.name ?? "";
  }

  /** @returns {number} the seq of the last message in view; 0 while the room is not shown */
  #seqInView() {
    if (!this.#shown) return 0;
    if (this.scroll.atEnd) return this.state.seq;
    return Number(this.scroll.lastSeen(this.view.articles)?.dataset.seq ?? 0);
  }

  /** @param {number} seq @returns {boolean} */
  #sendRead(seq) {
    if (!this.shared.socket.send({ type: "room.read", room: this.id, seq })) return false;
    if (this.scroll.atEnd) setRoomCounts(this.id, { unread: 0, mentions: this.threads.mentions });
    return true;
  }
}

/** @returns {string | undefined} the message that the address of the page names */
function linkedMessage() {
  return /^#message-([0-9a-f-]{36})$/u.exec(location.hash)?.[1];
}

/**
 * @param {any} data of the page
 * @returns {{messages: import("./protocol.js").Message[]}} what `history.loaded` needs of a page that ends before the newest message
 */
function loadedPart({ state, seq, later }) {
  if (!later) return { messages: [] };
  return { place: "instead", messages: state.messages, earlier: !state.messages_complete, later, seq };
}
