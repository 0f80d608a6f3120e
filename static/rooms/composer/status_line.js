// @ts-check
// The line above the composer shows who is typing, or that the connection is lost. An empty line keeps its
// height, so that the layout does not move.

import { planks } from "../../maru/avatars.js";
import { fill, gettext } from "../../maru/translations.js";
import { CommandRefused, ConnectionLost } from "../connection/socket.js";

/** @typedef {import("../connection/socket.js").ConnectionState} Connection */

const TYPING_MS = 5_000;
// A connection that is lost for a shorter time is not reported.
const SHOW_LOSS_AFTER_MS = 1_000;
const NOTICE_MS = 8_000;

export class StatusLine {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #typing = new Map();
  /** @type {Node[]} */
  #trouble = [];
  /** Of the trouble: "lost" or "over". */
  #state = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #lossTimer;
  /** @type {Node[]} */
  #notice = [];

  /**
   * @param {HTMLElement} line
   * @param {HTMLElement} conversation is dimmed while the connection is lost
   * @param {(user: string) => string} nameOf
   */
  constructor(line, conversation, nameOf) {
    this.line = line;
    this.conversation = conversation;
    this.nameOf = nameOf;
    this.lines = [line];
  }

  /** Shows the same in another line: that of a panel that may cover this one. @param {HTMLElement} line */
  mirror(line) {
    this.lines.push(line);
    this.#show();
  }

  /** @param {string} user */
  typing(user) {
    clearTimeout(this.#typing.get(user));
    this.#typing.set(
      user,
      setTimeout(() => this.stopped(user), TYPING_MS),
    );
    this.#show();
  }

  /** The user has sent the message or stopped typing. @param {string} user */
  stopped(user) {
    clearTimeout(this.#typing.get(user));
    if (this.#typing.delete(user)) this.#show();
  }

  /** @param {ConnectionState} state */
  connection(state) {
    if (state === "open") return this.#clearTrouble();
    if (state === "signed_out" || state === "gone") return this.showEnd(state);
    // The timer is started once per loss: each failed attempt to reconnect changes the state again.
    this.#lossTimer ??= setTimeout(() => {
      this.conversation.dataset.connection = "lost";
      this.#showTrouble("lost", planks(), gettext("Reconnecting. What you write is kept."));
    }, SHOW_LOSS_AFTER_MS);
  }

  /** @param {"signed_out" | "gone"} why the connection has ended */
  showEnd(why) {
    clearTimeout(this.#lossTimer);
    this.conversation.dataset.connection = "lost";
    if (why === "gone") return this.#showTrouble("over", gettext("You no longer have access to this room."));
    const link = document.createElement("a");
    link.href = location.href;
    link.textContent = gettext("Sign in again");
    this.#showTrouble("over", gettext("You are signed out. What you wrote is kept in this browser."), link);
  }

  /** Shows an error for NOTICE_MS. @param {string} sentence */
  notice(sentence) {
    const notice = (this.#notice = [words(sentence)]);
    this.#show();
    setTimeout(() => {
      if (this.#notice === notice) this.#notice = [];
      this.#show();
    }, NOTICE_MS);
  }

  /** Shows why a command failed. @param {unknown} error @returns {string} the sentence */
  commandFailed(error) {
    if (!(error instanceof ConnectionLost) && !(error instanceof CommandRefused)) throw error;
    const lost = gettext("The connection was lost. Try again after it is restored.");
    const sentence = error instanceof CommandRefused ? error.message : lost;
    this.notice(sentence);
    return sentence;
  }

  #clearTrouble() {
    clearTimeout(this.#lossTimer);
    this.#lossTimer = undefined;
    delete this.conversation.dataset.connection;
    this.#trouble = [];
    this.#show();
  }

  /** @param {string} state @param {(Node | string)[]} parts */
  #showTrouble(state, ...parts) {
    this.#state = state;
    this.#trouble = parts.map((one) => (typeof one === "string" ? words(one) : one));
    this.#show();
  }

  #show() {
    const nodes = this.#content();
    for (const line of this.lines) {
      if (this.#trouble.length) line.dataset.state = this.#state;
      else delete line.dataset.state;
      line.replaceChildren(...nodes.map((node) => (line === this.line ? node : node.cloneNode(true))));
    }
  }

  /** @returns {Node[]} */
  #content() {
    if (this.#trouble.length) return this.#trouble;
    if (this.#notice.length) return this.#notice;
    const names = [...this.#typing.keys()].map(this.nameOf).filter(Boolean);
    return names.length ? [planks(), words(typingWords(names))] : [];
  }
}

/** @param {string[]} names @returns {string} */
export function typingWords(names) {
  const [one, other] = names;
  if (names.length === 1) return fill(gettext("%(name)s is typing"), { name: one });
  if (names.length === 2) return fill(gettext("%(one)s and %(other)s are typing"), { one, other });
  return gettext("Several people are typing");
}

/** @param {string} text @returns {HTMLElement} */
function words(text) {
  const span = document.createElement("span");
  span.textContent = text;
  return span;
}
