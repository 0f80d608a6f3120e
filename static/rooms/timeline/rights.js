// @ts-check
// What the reader may do with the messages and runs of a room: the part of RoomState that decides it.

/** @typedef {import("./layout_rules.js").LayoutRules} LayoutRules */
/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../protocol.js").Run} Run */

const OPEN = new Set(["queued", "running", "waiting"]);

export class Rights {
  /** @type {Set<string>} */
  permissions = new Set();
  /** @type {Map<string, Run>} */
  runs = new Map();

  /** @param {string} me the id of the reader @param {LayoutRules} rules */
  constructor(me, rules) {
    this.me = me;
    this.rules = rules;
  }

  /** @param {string} _id @returns {Message | undefined} a loaded message */
  message(_id) {
    throw new Error("a subclass has the messages");
  }

  /** The runs that have not ended, in queue order. @returns {Run[]} */
  get openRuns() {
    return [...this.runs.values()].filter((run) => OPEN.has(run.state ?? ""));
  }

  /** @param {Run} run @returns {boolean} whether the reader may stop it */
  mayStop(run) {
    return run.requested_by === this.me || this.permissions.has("moderate");
  }

  /** @param {Run} run @returns {boolean} whether the reader may steer it */
  maySteer(run) {
    return OPEN.has(run.state ?? "") && run.answer !== null && this.permissions.has("post");
  }

  /** @param {Run} run @returns {boolean} whether the reader may see the arguments and results of its calls */
  maySeeCalls(run) {
    return run.requested_by === this.me || this.permissions.has("moderate");
  }

  /** @param {Run | undefined} run @returns {boolean} whether the reader may end a question that it asks */
  mayClose(run) {
    const asker = run?.requested_by === this.me && this.permissions.has("post");
    return asker || this.permissions.has("moderate");
  }

  /** @param {Run} run @returns {boolean} whether the reader may retry it */
  mayRetry(run) {
    if (!this.rules.retryable_run_states.includes(run.state ?? "")) return false;
    const again = this.openRuns.some(
      (other) => other.message === run.message && other.persona === run.persona,
    );
    const asker = run.requested_by === this.me && this.permissions.has("post");
    if (this.message(run.message)?.deleted) return false;
    return !again && (asker || this.permissions.has("moderate"));
  }

  /** @param {Message} message @returns {boolean} whether the reader may edit it */
  mayEdit(message) {
    const own = message.author.kind === "user" && message.author.id === this.me;
    return own && !message.deleted && this.permissions.has("post");
  }

  /** @param {Message} message @returns {boolean} whether the reader may delete it */
  mayDelete(message) {
    return !message.deleted && (this.mayEdit(message) || this.permissions.has("moderate"));
  }

  /** @param {Message} message @returns {boolean} whether the reader may continue the answers that stopped there */
  mayContinue(message) {
    return typeof message.capped === "number" && !message.deleted && this.permissions.has("moderate");
  }

  /** @param {Message} message @returns {boolean} whether the reader may react to it */
  mayReact(message) {
    return !message.deleted && this.permissions.has("post");
  }
}
