// @ts-check
// The one connection of a page: commands out, frames in, and back again when it is lost.

/** @typedef {import("./wire.js").Frame} Frame */
/** @typedef {import("./wire.js").Command} Command */

/** `waiting` is between two tries; `signed_out` and `gone` are the end.
 * @typedef {"connecting" | "open" | "waiting" | "signed_out" | "gone"} Connection */

const SUBPROTOCOL = "maru.v1";
const PING_MS = 25_000;
const PATIENCE_MS = 10_000;
const LONGEST_WAIT_MS = 30_000;
const CLOSED = { credentials: 4401, slow: 4408, flooding: 4429, restarting: 1012 };

/** The server said no to a command. */
export class Refused extends Error {
  /** @param {{code: string, detail: string, retry_after?: number}} refusal */
  constructor({ code, detail, retry_after: retryAfter }) {
    super(detail);
    this.code = code;
    this.retryAfter = retryAfter ?? null;
  }
}

/** The connection was lost before the answer came: nobody knows whether the command was carried out. */
export class Lost extends Error {}

/**
 * How long to wait before the next try. Random, so that a thousand pages do not come back at once.
 * @param {number} code why the last connection closed
 * @param {number} tries that have failed since the last one that worked
 * @param {() => number} random
 * @returns {number} milliseconds
 */
export function delay(code, tries, random = Math.random) {
  if (tries === 0 && code === CLOSED.restarting) return random() * 3_000;
  if (tries === 0 && code === CLOSED.slow) return random() * 500;
  const longest = Math.min(LONGEST_WAIT_MS, 1_000 * 2 ** tries);
  const wait = longest / 2 + (random() * longest) / 2;
  return code === CLOSED.flooding ? 10_000 + wait : wait;
}

export class RoomSocket {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Connection} */
  #state = "connecting";
  #tries = 0;
  #flooded = false;
  #refs = 0;
  /** @type {Map<string, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  #asked = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pinging;

  /**
   * @param {{
   *   open: () => WebSocket,
   *   onFrame: (frame: Frame) => void,
   *   onState: (state: Connection) => void,
   *   admission: () => Promise<"welcome" | "signed_out" | "gone" | "unknown">,
   * }} ways `admission` asks why the door stays shut: a refused handshake tells no page the reason
   */
  constructor({ open, onFrame, onState, admission }) {
    this.open = open;
    this.onFrame = onFrame;
    this.onState = onState;
    this.admission = admission;
  }

  get state() {
    return this.#state;
  }

  connect() {
    clearTimeout(this.#timer);
    if (this.#socket || this.#isOver()) return;
    this.#enter("connecting");
    const socket = (this.#socket = this.open());
    let opened = false;
    socket.addEventListener("open", () => {
      opened = true;
      this.#tries = 0;
      this.#enter("open");
      this.#schedulePing();
    });
    socket.addEventListener("message", ({ data }) => this.#take(JSON.parse(data)));
    socket.addEventListener("close", ({ code }) => {
      if (this.#socket === socket) this.#closed(code, opened);
    });
  }

  /** Tries at once: the network is back, or somebody looks at the page again. */
  hurry() {
    if (this.#state === "waiting" && !this.#flooded) this.connect();
    else if (this.#state === "open") void this.#ping();
  }

  /**
   * Sends a command and waits for its answer.
   * @param {Command} command
   * @returns {Promise<any>} the result; rejects with Refused or Lost
   */
  request(command) {
    const ref = String(++this.#refs);
    return new Promise((resolve, reject) => {
      if (!this.#send({ ...command, ref })) return reject(new Lost());
      this.#asked.set(ref, { resolve, reject });
    });
  }

  /** Sends a command that has no answer. @param {Command} command */
  tell(command) {
    this.#send(command);
  }

  /** @param {object} frame @returns {boolean} */
  #send(frame) {
    if (this.#state !== "open" || !this.#socket) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  /** @param {Frame} frame */
  #take(frame) {
    const asked = this.#asked.get(frame.ref);
    if (asked) {
      this.#asked.delete(frame.ref);
      if (frame.type === "command.refused") asked.reject(new Refused(/** @type {any} */ (frame)));
      else asked.resolve(frame.result ?? {});
    }
    this.onFrame(frame);
  }

  /** @param {number} code @param {boolean} opened */
  #closed(code, opened) {
    clearTimeout(this.#pinging);
    this.#socket = null;
    for (const { reject } of this.#asked.values()) reject(new Lost());
    this.#asked.clear();
    if (code === CLOSED.credentials) return this.#enter("signed_out");
    this.#flooded = code === CLOSED.flooding;
    const wait = delay(code, this.#tries);
    this.#tries += 1;
    this.#enter("waiting");
    this.#timer = setTimeout(() => this.connect(), wait);
    if (!opened && this.#tries > 1) void this.#askWhy();
  }

  async #askWhy() {
    const answer = await this.admission();
    if (this.#state !== "waiting" || answer === "welcome" || answer === "unknown") return;
    clearTimeout(this.#timer);
    this.#enter(answer);
  }

  #schedulePing() {
    clearTimeout(this.#pinging);
    this.#pinging = setTimeout(() => this.#ping(), PING_MS);
  }

  /** A connection can be dead without knowing it: no answer in time, and it is given up. */
  async #ping() {
    const socket = this.#socket;
    const patience = setTimeout(() => this.#giveUp(socket), PATIENCE_MS);
    try {
      await this.request({ type: "ping" });
      this.#schedulePing();
    } catch (error) {
      if (error instanceof Refused) this.#schedulePing();
      else if (!(error instanceof Lost)) throw error;
    } finally {
      clearTimeout(patience);
    }
  }

  /** @param {WebSocket | null} socket */
  #giveUp(socket) {
    if (!socket || this.#socket !== socket) return;
    socket.close();
    this.#closed(1006, true);
  }

  #isOver() {
    return this.#state === "signed_out" || this.#state === "gone";
  }

  /** @param {Connection} state */
  #enter(state) {
    if (state === this.#state && state !== "connecting") return;
    this.#state = state;
    this.onState(state);
  }
}

/** @returns {WebSocket} a connection to where this page came from */
export function openSocket() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return new WebSocket(`${scheme}://${location.host}/ws/`, SUBPROTOCOL);
}

/**
 * Asks by HTTP why a handshake fails.
 * @returns {Promise<"welcome" | "signed_out" | "gone" | "unknown">}
 */
export async function askAdmission() {
  try {
    const answer = await fetch(location.href, { method: "HEAD", redirect: "manual" });
    if (answer.type === "opaqueredirect") return "signed_out";
    if (answer.status === 404) return "gone";
    return answer.ok ? "welcome" : "unknown";
  } catch {
    return "unknown";
  }
}
