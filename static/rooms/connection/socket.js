// @ts-check
// The WebSocket connection of a page: sends commands, receives frames, notices a dead connection,
// and reconnects.
//
// A dead TCP connection raises no event in the browser, so three checks detect it:
//   - the browser's `offline` event closes the connection at once (see open_rooms.js);
//   - a visible page pings after 4 s without a frame, and closes the connection after 6 s without an
//     answer, so at most 10 s after the last frame. The status line shows it 1 s later;
//   - `readyState` is read every 2 s and before every send: a socket in CLOSING (a close handshake
//     that gets no answer can take a minute) is replaced without waiting for its `close` event.
// Cost: an idle visible page sends one ping of 30 bytes every 4 s, an idle hidden page one every 24 s.
// A page that receives frames sends no pings.

import { CompactDeltas } from "./compact_deltas.js";

/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").Command} Command */

/** `waiting`: the next attempt to connect is scheduled. `signed_out` and `gone` are final.
 * @typedef {"connecting" | "open" | "waiting" | "signed_out" | "gone"} ConnectionState */

/** The reason of a failed handshake. `unknown`: the server cannot be reached.
 * @typedef {"allowed" | "signed_out" | "gone" | "unknown"} Access */

const SUBPROTOCOLS = ["maru.v1", "maru.v1.compact"]; // the server prefers the second
const OPEN = 1; // WebSocket.OPEN; tests under Node have no WebSocket
const MAX_DELAY_MS = 30_000;
const CONNECT_TIMEOUT_MS = 20_000;
const CLOSE_CODES = { lost: 1006, restarting: 1012, credentials: 4401, slow: 4408, flooding: 4429 };

const CHECK_MS = 2_000;
// Browsers run the timers of pages that are hidden for long only once a minute, so few checks must be enough.
const HIDDEN_CHECK_MS = 12_000;
// Silence is counted in checks, not in clock time, so that the sleep of a suspended machine does not count.
const VISIBLE = { pingAfterMs: 4_000, answerWithinMs: 6_000 };
const HIDDEN = { pingAfterMs: 24_000, answerWithinMs: 12_000 };

/** The server refused a command (`command.refused`). */
export class CommandRefused extends Error {
  /** @param {{code: string, detail: string, retry_after?: number}} refusal */
  constructor({ code, detail, retry_after: retryAfter }) {
    super(detail);
    this.code = code;
    this.retryAfter = retryAfter ?? null;
  }
}

/** The connection ended before the answer arrived. The server may have executed the command. */
export class ConnectionLost extends Error {}

/**
 * The delay before the next attempt to connect: exponential backoff with jitter, so that a thousand
 * pages do not reconnect in the same second.
 * @param {number} code the close code of the last connection
 * @param {number} failures the number of failed attempts since the last connection that opened
 * @param {() => number} random
 * @returns {number} milliseconds
 */
export function reconnectDelay(code, failures, random = Math.random) {
  if (failures === 0 && code === CLOSE_CODES.restarting) return random() * 3_000;
  if (failures === 0 && code === CLOSE_CODES.slow) return random() * 500;
  const longest = Math.min(MAX_DELAY_MS, 1_000 * 2 ** failures);
  const wait = longest / 2 + (random() * longest) / 2;
  return code === CLOSE_CODES.flooding ? 10_000 + wait : wait;
}

export class RoomSocket {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {ConnectionState} */
  #state = "connecting";
  #failures = 0;
  #flooded = false;
  #lastRef = 0;
  /** Commands without an answer yet, by ref.
   * @type {Map<string, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  #pending = new Map();
  /** The next attempt to connect, or the deadline of the current one. @type {ReturnType<typeof setTimeout> | undefined} */
  #connectTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #checkTimer;
  /** Milliseconds since the last frame. */
  #silence = 0;
  /** The value of `#silence` at which the ping without an answer was sent. @type {number | null} */
  #pingedAt = null;

  /**
   * @param {{
   *   open: () => WebSocket,
   *   onFrame: (frame: Frame) => void,
   *   onState: (state: ConnectionState) => void,
   *   checkAccess: () => Promise<Access>,
   *   isVisible?: () => boolean,
   * }} options `checkAccess` finds the reason of a failed handshake by an HTTP request, because browsers hide
   *   the status of a handshake from scripts
   */
  constructor({ open, onFrame, onState, checkAccess, isVisible = () => true }) {
    this.open = open;
    this.onFrame = onFrame;
    this.onState = onState;
    this.checkAccess = checkAccess;
    this.isVisible = isVisible;
  }

  get state() {
    return this.#state;
  }

  connect() {
    clearTimeout(this.#connectTimer);
    if (this.#socket || this.#state === "signed_out" || this.#state === "gone") return;
    this.#setState("connecting");
    const socket = (this.#socket = this.open());
    const deltas = new CompactDeltas();
    this.#connectTimer = setTimeout(() => this.disconnect(), CONNECT_TIMEOUT_MS);
    // Each listener checks that `socket` is still the current socket: events of a replaced socket
    // arrive late.
    socket.addEventListener("open", () => {
      if (this.#socket !== socket) return;
      clearTimeout(this.#connectTimer);
      this.#failures = 0;
      this.#setState("open");
      this.#markAlive();
    });
    socket.addEventListener("message", ({ data }) => {
      if (this.#socket !== socket) return;
      this.#markAlive();
      const frame = deltas.expand(JSON.parse(data));
      if (frame) this.#receive(frame);
    });
    socket.addEventListener("close", ({ code }) => {
      if (this.#socket === socket) this.#closed(code);
    });
  }

  /** Drops the connection at once and schedules the next attempt; does not wait for `close`. */
  disconnect() {
    const socket = this.#socket;
    if (!socket) return;
    this.#closed(CLOSE_CODES.lost);
    socket.close();
  }

  /** Connects without further delay, or pings an open connection. Call it when the network or the reader returns. */
  reconnectOrPing() {
    if (this.#state === "waiting" && !this.#flooded) this.connect();
    else if (this.#state === "open") this.#ping();
  }

  /**
   * Sends a command and waits for its answer.
   * @param {Command} command
   * @returns {Promise<any>} the result; rejects with CommandRefused or ConnectionLost
   */
  request(command) {
    const ref = String(++this.#lastRef);
    return new Promise((resolve, reject) => {
      if (!this.send({ ...command, ref })) return reject(new ConnectionLost());
      this.#pending.set(ref, { resolve, reject });
    });
  }

  /** Sends a command without waiting for an answer. @param {Command} command @returns {boolean} whether it was sent */
  send(command) {
    if (this.#state !== "open" || !this.#isOpen()) return false;
    this.#socket?.send(JSON.stringify(command));
    return true;
  }

  /** Drops a connection that the browser is closing. @returns {boolean} whether the connection is open */
  #isOpen() {
    if (this.#socket?.readyState === OPEN) return true;
    this.disconnect();
    return false;
  }

  /** @param {Frame} frame */
  #receive(frame) {
    const pending = this.#pending.get(frame.ref);
    if (pending) {
      this.#pending.delete(frame.ref);
      if (frame.type === "command.refused") pending.reject(new CommandRefused(/** @type {any} */ (frame)));
      else pending.resolve(frame.result ?? {});
    }
    this.onFrame(frame);
  }

  /** @param {number} code */
  #closed(code) {
    const opened = this.#state === "open";
    clearTimeout(this.#checkTimer);
    clearTimeout(this.#connectTimer);
    this.#socket = null;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(new ConnectionLost());
    if (code === CLOSE_CODES.credentials) return this.#setState("signed_out");
    this.#flooded = code === CLOSE_CODES.flooding;
    const delay = reconnectDelay(code, this.#failures);
    this.#failures += 1;
    this.#connectTimer = setTimeout(() => this.connect(), delay);
    this.#setState("waiting");
    if (!opened && this.#failures > 1) void this.#endIfRefused();
  }

  async #endIfRefused() {
    const access = await this.checkAccess();
    if (this.#state !== "waiting" || access === "allowed" || access === "unknown") return;
    clearTimeout(this.#connectTimer);
    this.#setState(access);
  }

  /** Any frame proves that the connection works. */
  #markAlive() {
    this.#silence = 0;
    this.#pingedAt = null;
    this.#scheduleCheck();
  }

  #scheduleCheck() {
    clearTimeout(this.#checkTimer);
    const step = this.isVisible() ? CHECK_MS : HIDDEN_CHECK_MS;
    this.#checkTimer = setTimeout(() => this.#check(step), step);
  }

  /** @param {number} step milliseconds since the last check */
  #check(step) {
    if (!this.#isOpen()) return;
    this.#silence += step;
    const { pingAfterMs, answerWithinMs } = this.isVisible() ? VISIBLE : HIDDEN;
    if (this.#pingedAt !== null && this.#silence - this.#pingedAt >= answerWithinMs) return this.disconnect();
    if (this.#pingedAt === null && this.#silence >= pingAfterMs) this.#ping();
    else this.#scheduleCheck();
  }

  #ping() {
    if (!this.send({ type: "ping", ref: String(++this.#lastRef) })) return;
    this.#pingedAt ??= this.#silence;
    this.#scheduleCheck();
  }

  /** @param {ConnectionState} state */
  #setState(state) {
    if (state === this.#state && state !== "connecting") return;
    this.#state = state;
    this.onState(state);
  }
}

/** @returns {WebSocket} a connection to the server of this page */
export function openSocket() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new WebSocket(`${scheme}://${location.host}/ws/`, SUBPROTOCOLS);
}

/** Requests this page to find the reason of a failed handshake. @returns {Promise<Access>} */
export async function checkAccess() {
  try {
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" });
    if (answer.type === "opaqueredirect") return "signed_out";
    if (answer.status === 404) return "gone";
    return answer.ok ? "allowed" : "unknown";
  } catch {
    return "unknown";
  }
}
