// @ts-check
// What personas ask of people: the part of the state of a room that has decisions on calls, and questions.

import { part } from "../elements.js";

/** @typedef {import("../protocol.js").Approval} Approval */
/** @typedef {import("../protocol.js").Change} Change */
/** @typedef {import("../protocol.js").Frame} Frame */
/** @typedef {import("../protocol.js").FullState} FullState */
/** @typedef {import("../protocol.js").Question} Question */

/** The arguments of a call, which only people who may decide can read.
 * @typedef {{arguments: string, arguments_sha256: string}} Details */

/** @typedef {{kind: "approval", ask: Approval} | {kind: "question", ask: Question}} Ask */

export class AskState {
  /** Open ones, and those that have ended since the page was loaded, by id. @type {Map<string, Ask>} */
  #asks = new Map();
  /** Of approvals. @type {Map<string, Details | "failed">} */
  details = new Map();
  /** Approvals whose details are being requested. @type {Set<string>} */
  loading = new Set();
  /** Approvals on which the reader has decided after another person. @type {Set<string>} */
  lost = new Set();

  /** @param {string} me the id of the reader */
  constructor(me) {
    this.me = me;
  }

  /** Replaces the open ones. @param {FullState} fullState */
  replace({ approvals = [], questions = [] }) {
    for (const each of this.open) this.#asks.delete(each.ask.id);
    for (const ask of approvals) this.#asks.set(ask.id, { kind: "approval", ask });
    for (const ask of questions) this.#asks.set(ask.id, { kind: "question", ask });
  }

  /**
   * Applies an event, or what the page has learned: `approval.loaded` has the details of an approval, or null;
   * `approval.lost` names one on which another person has decided first.
   * @param {Frame} frame @returns {Change[]}
   */
  apply({ type, approval, question, details }) {
    if (question) this.#asks.set(question.id, { kind: "question", ask: question });
    else if (type === "approval.loaded") this.details.set(approval, details ?? "failed");
    else if (type === "approval.lost") this.lost.add(approval);
    else this.#asks.set(approval.id, { kind: "approval", ask: approval });
    const ask = this.#asks.get(question?.id ?? approval.id ?? approval)?.ask;
    return ask ? [{ what: "ask", run: ask.run }] : [];
  }

  /** @returns {Ask[]} those that wait for people */
  get open() {
    return [...this.#asks.values()].filter(({ ask }) => ask.state === "asked" || ask.state === "open");
  }

  /** @returns {Ask[]} those that wait for the reader */
  get mine() {
    return this.open.filter((each) => this.isMine(each));
  }

  /** @param {string} run @returns {Ask[]} the asks of a run, oldest first */
  of(run) {
    return [...this.#asks.values()].filter(({ ask }) => ask.run === run);
  }

  /** @param {Ask} item @returns {boolean} whether the reader may decide or answer */
  isMine({ kind, ask }) {
    if (!ask.asked_of.includes(this.me)) return false;
    return kind === "approval" || !ask.answers.some(({ by }) => by === this.me);
  }

  /** @param {string} run @returns {Set<string>} the calls of a run that are shown as open asks */
  callsOf(run) {
    return new Set(this.open.filter(({ ask }) => ask.run === run).map(({ ask }) => ask.id));
  }
}

/** Reads the arguments of the cards that the server has rendered. @param {HTMLElement} timeline @param {AskState} asks */
export function readCards(timeline, asks) {
  for (const card of timeline.querySelectorAll("[data-mine][data-kind=approval]")) {
    const { value } = /** @type {HTMLInputElement} */ (part(card, "[name=arguments_sha256]"));
    const text = part(card, "[data-json]").dataset.json ?? ""; // what it shows is escaped
    const approval = /** @type {HTMLElement} */ (card).dataset.ask;
    asks.apply({ type: "approval.loaded", approval, details: { arguments: text, arguments_sha256: value } });
  }
}
