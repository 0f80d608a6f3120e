// @ts-check
// The threads of the room on the page: opens and closes the panel, and shows the line below each root. The panel is
// loaded when the first thread is opened; the state never waits for it.

import { readCards } from "../acting/ask_state.js";
import { clone, part } from "../elements.js";
import { readHtml } from "../open/page_data.js";
import { Bundle } from "../../maru/on_demand.js";
import { setUnreadThreads } from "../../maru/sidebar.js";
import { gettext } from "../../maru/translations.js";
import { isInRoom } from "./open_threads.js";
import { setThreadHint } from "./thread_hint.js";
import { UnreadThreads } from "./unread_threads.js";

/** @typedef {import("./thread_panel.js").Page} Page */
/** @typedef {import("./thread_panel.js").ThreadPanel} ThreadPanel */
/** @typedef {import("../protocol.js").Change} Change */
/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../connection/outbox.js").Entry} Entry */

/** @type {Bundle<typeof import("./thread_panel.js")>} */
const bundle = new Bundle("thread");

export class Threads {
  /** @type {ThreadPanel | null} */
  #panel = null;
  /** @type {HTMLElement | null} */
  #aside = null;
  /** The root of a thread that is shown as soon as the panel is loaded. @type {string | null} */
  #opening = null;
  /** A thread that the server has rendered, until the panel is loaded. @type {any} */
  #rendered = null;
  /** What the shell showed beside the room before a thread. */
  #before = "auto";
  /** The message that gets the focus after the panel is closed. @type {HTMLElement | null} */
  #opener = null;
  /** @type {Entry[]} */
  #unsent = [];
  #hasEnded = false;

  /**
   * @param {HTMLElement} shell
   * @param {import("../open/navigation.js").Screen} screen
   * @param {HTMLElement} timeline of the room
   * @param {Omit<Page, "onRead" | "onFollow" | "onMove">} page
   * @param {{unread: Record<string, number>, mentions: Record<string, number>}} counts by root: the unread replies of
   *   followed threads, and the unread mentions of the reader
   * @param {(more: number) => void} onMentions called when the number of unread mentions has changed
   */
  constructor(shell, screen, timeline, page, { unread, mentions }, onMentions) {
    this.shell = shell;
    this.screen = screen;
    this.timeline = timeline;
    this.page = page;
    this.unread = new UnreadThreads(page.state, page.handle, unread, (change) =>
      setUnreadThreads(page.state.room.id, (before) => before + change),
    );
    this.unread.addMentions(mentions);
    this.onMentions = onMentions;
    const address = /** @type {HTMLAnchorElement | null} */ (screen.main.querySelector("[data-panel-toggle]"));
    this.address = new URL(address?.href ?? location.href).pathname;
    timeline.addEventListener("click", (event) => this.#onClick(event));
    timeline.addEventListener("keydown", (event) => this.#onKey(event));
    addEventListener("popstate", () => this.timeline.isConnected && this.#follow(), { signal: page.signal });
    // Before the handler of the panel, which then opens it in place of the thread.
    address?.addEventListener("click", () => {
      if (!this.root) return;
      this.close();
      shell.dataset.aside = "closed";
    });
  }

  /** @returns {string | null} the root of the open thread */
  get root() {
    return this.#opening ?? this.#panel?.root ?? null;
  }

  /** @param {Frame} frame @returns {boolean} false for an event of a thread that is not open */
  shows({ message, run }) {
    const thread = message?.thread ?? run?.thread;
    return !thread || isInRoom(message ?? run) || this.root === thread;
  }

  /** Shows the thread that the server has rendered. @param {any} data null if it has rendered none */
  begin(data) {
    if (data) {
      const aside = this.#aside ?? this.#makeAside();
      readHtml(data.messages, aside, "thread-"); // before the panel adds its buttons
      const { apply, state } = this.page;
      const { root, messages, runs } = data;
      readCards(part(aside, "[data-timeline]"), state.asks);
      this.#opening = root;
      apply({ type: "thread.opened", root });
      apply({ type: "thread.loaded", root, messages, runs });
      this.#rendered = { data, seq: state.seq };
      void this.#beginPanel();
    }
    this.#markRoot();
  }

  /** Lets the panel take over what the server has rendered. After a failure, `show` and `reload` try again. */
  async #beginPanel() {
    const module = await bundle.load().catch(() => null);
    if (!module || !this.#rendered) return;
    const { data, seq } = this.#rendered;
    this.#opening = this.#rendered = null;
    const panel = this.#make(module);
    panel.begin(data);
    panel.showUnsent(this.#unsent);
    if (this.page.state.seq !== seq) panel.show([{ what: "everything" }], { type: "thread.loaded" });
  }

  /** Shows the line below a root. @param {HTMLElement} article @param {Message} message */
  hint(article, message) {
    const href = this.#addressOf(message.thread ?? message.id);
    setThreadHint(article, message, this.page.state, { unread: this.unread.of(message.id), href });
    article.querySelector("[data-reply]")?.setAttribute("href", href);
  }

  /**
   * Counts new replies, also while the room is not shown.
   * @param {Frame} frame @param {number} since the seq of the state before the frame
   */
  count(frame, since) {
    const before = this.mentions;
    // A snapshot has the events since the connection was lost, and may repeat some.
    const events = (frame.events ?? [frame]).filter((/** @type {Frame} */ { seq }) => (seq ?? Infinity) > since);
    for (const { type, message } of events) {
      if (type === "message.created" && message.replaces) this.unread.move(message.replaces, message.id);
      else if (type === "message.created") this.unread.onMessage(message, this.#isRead(message));
    }
    if (frame.type === "thread.moved") this.unread.move(frame.root, frame.to);
    if (frame.type === "history.loaded" && frame.unread) this.unread.load(frame.unread);
    if (this.mentions !== before) this.onMentions(this.mentions - before);
  }

  /** The unread messages of open and closed threads that mention the reader. */
  get mentions() {
    return this.unread.mentions;
  }

  /** @param {Change[]} changes @param {Frame} frame */
  show(changes, frame) {
    this.#panel?.show(changes, frame);
    if (this.#rendered && (frame.message ?? frame.run)?.thread === this.root) void this.#beginPanel();
    if (changes.some(({ what }) => what === "everything")) this.#markRoot();
  }

  /** Loads the replies that could not be loaded while there was no connection. */
  reload() {
    if (this.#rendered) void this.#beginPanel();
    this.#panel?.reload();
  }

  /** Closes the thread for good: the reader has no access to the room any more. */
  end() {
    this.close({ push: false });
    this.#hasEnded = true;
  }

  /** @param {Entry[]} entries of the outbox */
  showUnsent(entries) {
    this.#unsent = entries;
    this.#panel?.showUnsent(entries);
  }

  /** @param {string} root @param {{push?: boolean}} [options] @returns {Promise<void>} resolved when its messages are loaded */
  async open(root, { push = true } = {}) {
    if (this.#hasEnded) return;
    if (this.root === root) return this.#panel?.composer.field.focus();
    this.#forget();
    if (push) history.pushState({ thread: root }, "", this.#addressOf(root));
    if (this.shell.dataset.aside !== "thread") this.#before = this.shell.dataset.aside ?? "auto";
    this.shell.dataset.aside = "thread";
    const panel = this.#panel ?? (await this.#loadFor(root));
    if (!panel) return;
    const loaded = panel.open(root);
    panel.showUnsent(this.#unsent);
    this.#markRoot();
    if (matchMedia("(hover: hover)").matches) panel.composer.field.focus();
    await loaded;
  }

  /** Loads the panel, and shows its empty frame meanwhile. @param {string} root @returns {Promise<ThreadPanel | null>} null: not shown */
  async #loadFor(root) {
    const writing = part(this.#aside ?? this.#makeAside(), "[data-writing]");
    this.#opening = root;
    this.page.apply({ type: "thread.opened", root });
    this.#markRoot();
    const field = /** @type {HTMLTextAreaElement} */ (part(writing, "textarea"));
    field.readOnly = writing.inert = true; // the form does not know its thread yet
    const module = await bundle.load().catch(() => null);
    field.readOnly = writing.inert = false;
    if (this.#opening !== root) return null; // it was closed, or another one was opened
    if (!module) {
      this.page.tell(gettext("This could not be loaded. Try again, or load the page again."));
      this.close();
      return null;
    }
    this.#opening = null;
    return this.#panel ?? this.#make(module);
  }

  /** The thread for which the panel is being loaded is not shown any more. */
  #forget() {
    if (this.#opening) this.page.apply({ type: "thread.closed", root: this.#opening });
    this.#opening = this.#rendered = null;
  }

  close({ push = true } = {}) {
    const { root } = this;
    if (!root) return;
    if (push) history.pushState({}, "", this.address);
    this.#forget();
    this.#panel?.close();
    this.shell.dataset.aside = this.#before === "thread" ? "auto" : this.#before;
    this.#markRoot();
    const opener = this.#opener?.isConnected ? this.#opener : document.getElementById(`message-${root}`);
    this.#opener = null;
    opener?.focus();
  }

  /** Draws the cards of the open thread. @returns {Promise<boolean>} false if they could not be loaded */
  async ready() {
    return (await this.#panel?.view.acting.ready()) ?? false;
  }

  /** @param {typeof import("./thread_panel.js")} module @returns {ThreadPanel} */
  #make(module) {
    const { page, unread } = this;
    this.#panel = new module.ThreadPanel(this.#aside ?? this.#makeAside(), {
      ...page,
      onRead: (root) => this.#onRead(root),
      onMove: (from, to) => this.#onMove(from, to),
      onFollow: (root, following, count) => this.#changeUnread(root, () => unread.set(root, following, count)),
    });
    return this.#panel;
  }

  /** @returns {HTMLElement} the panel, from its template if the server has rendered none */
  #makeAside() {
    const { parts } = this.screen;
    let aside = /** @type {HTMLElement | undefined} */ (parts.find(({ id }) => id === "thread"));
    if (!aside) {
      aside = clone("thread");
      part(document, ".shell").append(aside);
      parts.push(aside);
    }
    aside.addEventListener("click", (event) => {
      const link = /** @type {Element} */ (event.target).closest("[data-thread-close], [data-thread-back]");
      if (!link || opensElsewhere(event)) return;
      event.preventDefault();
      this.close();
    });
    aside.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
      if (!document.querySelector(":popover-open")) this.close(); // else the browser closes the menu
    });
    this.#aside = aside;
    return aside;
  }

  /** @param {string} root */
  #onRead(root) {
    const before = this.mentions;
    this.#changeUnread(root, () => this.unread.read(root));
    if (this.mentions !== before) this.onMentions(this.mentions - before);
  }

  /** The address follows the open thread to the new version of its root. @param {string} from @param {string} to */
  #onMove(from, to) {
    if (location.pathname === this.#addressOf(from)) history.replaceState({ thread: to }, "", this.#addressOf(to));
    this.#markRoot();
  }

  /** @param {string} root @param {() => void} change */
  #changeUnread(root, change) {
    change();
    const article = document.getElementById(`message-${root}`);
    const message = this.page.state.messages.get(root);
    if (article && message) this.hint(article, message);
  }

  /** @param {Message} message @returns {boolean} whether the reader sees a new reply */
  #isRead({ thread }) {
    return Boolean(thread) && this.#panel?.root === thread && this.#panel.scroll.atEnd && !document.hidden;
  }

  /** Marks the root of the open thread in the room. */
  #markRoot() {
    for (const article of this.timeline.querySelectorAll("[data-thread-open]")) article.removeAttribute("data-thread-open");
    const { root } = this;
    if (root) document.getElementById(`message-${root}`)?.setAttribute("data-thread-open", "");
  }

  /** @param {string} root @returns {string} */
  #addressOf(root) {
    return `${this.address}threads/${root}/`;
  }

  /** Shows what the address of the page names, after Back or Forward. */
  #follow() {
    if (!location.pathname.startsWith(this.address)) return; // another room will be shown
    const [, root] = /\/threads\/([0-9a-f-]{36})\/$/u.exec(location.pathname) ?? [];
    if (root && root === this.root) return; // only the fragment has changed
    if (root) void this.open(root, { push: false });
    else this.close({ push: false });
  }

  /** @param {MouseEvent} event */
  #onClick(event) {
    const link = /** @type {Element} */ (event.target).closest("[data-thread-hint], [data-reply]");
    const article = link?.closest(".message");
    if (!(article instanceof HTMLElement) || opensElsewhere(event)) return;
    event.preventDefault();
    this.#openFrom(article);
  }

  /** @param {KeyboardEvent} event T or Enter on a message */
  #onKey(event) {
    const { target } = event;
    if (!(target instanceof HTMLElement) || !target.matches(".message") || event.isComposing) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key !== "Enter" && event.code !== "KeyT") return;
    event.preventDefault();
    this.#openFrom(target);
  }

  /** @param {HTMLElement} article */
  #openFrom(article) {
    const message = this.page.state.messages.get(article.id.replace("message-", ""));
    if (!message || (message.deleted && !message.replies)) return;
    this.#opener = article;
    void this.open(message.thread ?? message.id);
  }
}

/** @param {MouseEvent} event @returns {boolean} whether a link opens in another tab or window */
function opensElsewhere({ button, ctrlKey, metaKey, shiftKey }) {
  return button !== 0 || ctrlKey || metaKey || shiftKey;
}
