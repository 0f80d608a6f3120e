// @ts-check
// The buttons of cards: they send a decision or an answer, and events show the result.

import { callApi } from "../connection/api.js";
import { CommandRefused } from "../connection/socket.js";
import { part } from "../elements.js";
import { gettext, pgettext } from "../../maru/translations.js";

/** @typedef {import("./press_guard.js").PressGuard} PressGuard */
/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../protocol.js").Frame} Frame */

/**
 * @param {TimelineView} view
 * @param {PressGuard} guard of its timeline
 * @param {{request: (command: Command) => Promise<any>, apply: (frame: Frame) => void, showError: (error: unknown) => void}} callbacks
 * @returns {() => void} requests what cards need and is not known
 */
export function startDecisions(view, guard, { request, apply, showError }) {
  const { timeline, state } = view;

  timeline.addEventListener("click", (event) => {
    const button = /** @type {Element} */ (event.target).closest("[data-ask] button");
    const card = button?.closest("[data-ask]");
    if (!(button instanceof HTMLButtonElement) || !(card instanceof HTMLElement)) return;
    const isMove = button.matches("[data-deny-back]") || (button.matches("[data-deny-words]") && !("denying" in card.dataset));
    if (button.matches("[data-load]")) void load(card.dataset.ask ?? "");
    else if (!guard.allows(card)) event.preventDefault(); // the press was meant for what was there before
    else if (isMove) setDenying(card, button.matches("[data-deny-words]"), event);
  });
  timeline.addEventListener("submit", (event) => {
    const card = /** @type {Element} */ (event.target).closest("[data-ask]");
    if (!(card instanceof HTMLElement) || !(event.target instanceof HTMLFormElement)) return;
    event.preventDefault();
    const sent = new FormData(event.target, event.submitter);
    if (event.target.matches("[data-close]")) void close(card);
    else if (card.dataset.kind === "approval") void decide(card, sent);
    else void answer(card, sent);
  });
  timeline.addEventListener("keydown", (event) => {
    const card = /** @type {Element} */ (event.target).closest("[data-denying]");
    if (event.key !== "Escape" || event.isComposing || !(card instanceof HTMLElement)) return;
    setDenying(card, false, event);
  });

  /** @param {string} approval */
  async function load(approval) {
    if (state.asks.loading.has(approval)) return;
    state.asks.loading.add(approval);
    const details = await callApi("GET", `/approvals/${approval}`).catch(() => null);
    state.asks.loading.delete(approval);
    apply({ type: "approval.loaded", approval, details });
  }

  /** @param {HTMLElement} card @param {boolean} denying @param {Event} event */
  function setDenying(card, denying, event) {
    event.preventDefault(); // and Escape does not close the thread around the answer
    const button = /** @type {HTMLElement} */ (part(card, "[data-deny-words]"));
    view.keepPlace(() => {
      card.toggleAttribute("data-denying", denying);
      button.textContent = denying ? pgettext("a request", "Deny") : gettext("Deny with a word");
      button.dataset.kind = denying ? "danger" : "line";
      part(card, "[data-deny-back]").hidden = !denying;
    });
    guard.touch(card);
    if (denying) part(card, "[name=note]").focus();
    else button.focus();
  }

  /** @param {HTMLElement} card @param {FormData} sent */
  async function decide(card, sent) {
    const approval = card.dataset.ask ?? "";
    const decision = sent.get("decision");
    const isRun = decision === "allow_for_run";
    const command = {
      type: "approval.decide",
      approval,
      decision: decision === "deny" ? "deny" : "allow",
      for: isRun ? "run" : "call",
      note: String(sent.get("note") ?? ""),
      arguments_sha256: sent.get("arguments_sha256"),
    };
    await attempt(card, () => request(command));
  }

  /** @param {HTMLElement} card @param {FormData} sent */
  async function answer(card, sent) {
    const choice = sent.get("choice");
    const said = choice === null ? { text: sent.get("text") } : { choice };
    const command = { type: "question.answer", question: card.dataset.ask, ...said };
    await attempt(card, () => request(command));
  }

  /** Ends a question with the answers so far. @param {HTMLElement} card */
  async function close(card) {
    await attempt(card, () => callApi("POST", `/questions/${card.dataset.ask}/close`));
  }

  /** @param {HTMLElement} card @param {() => Promise<any>} send */
  async function attempt(card, send) {
    const buttons = [...card.querySelectorAll("button")].filter(({ disabled }) => !disabled);
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    if (card.contains(focused)) card.focus(); // a disabled button would lose the focus to the page
    for (const button of buttons) button.disabled = true;
    const error = await send().then(() => null, (/** @type {unknown} */ reason) => reason);
    for (const button of buttons) button.disabled = false;
    if (!error) return;
    const isLost = error instanceof CommandRefused && error.code === "conflict";
    if (isLost && card.dataset.kind === "approval") apply({ type: "approval.lost", approval: card.dataset.ask });
    if (document.activeElement === card) focused?.focus();
    if (!isLost || card.hasAttribute("data-mine")) showError(error); // else the card says who was first
  }

  return () => {
    for (const { kind, ask } of state.asks.mine) {
      if (kind === "approval" && !state.asks.details.has(ask.id)) void load(ask.id);
    }
  };
}
