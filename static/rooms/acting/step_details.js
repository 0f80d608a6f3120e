// @ts-check
// Opens a step of an answer: its arguments and its result, which are requested when they are shown. Who may not see
// them gets a refusal, and the step stays closed.

import { callApi } from "../connection/api.js";
import { CommandRefused } from "../connection/socket.js";
import { shortTime } from "../../maru/local_times.js";
import { gettext } from "../../maru/translations.js";
import { visible } from "./arguments.js";
import { setSentence } from "./sentences.js";

/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */

/** A call of GET /runs/{run}/calls. `by` is the user who has decided on it; `decider` is the name, if it is known.
 * @typedef {{
 *   arguments?: string | null, result: string | null, state?: string, note?: string | null, by?: string | null,
 *   decided_at?: string | null, decider?: string,
 * }} Call */

/** @param {TimelineView} view @param {(error: unknown) => void} showError */
export function startStepDetails(view, showError) {
  const { timeline } = view;
  timeline.addEventListener("click", (event) => {
    const target = /** @type {Element} */ (event.target);
    const row = target.closest(".step");
    const article = target.closest(".message");
    if (!(row instanceof HTMLElement) || !(article instanceof HTMLElement)) return;
    const show = target.closest("[data-show-result]");
    if (show instanceof HTMLButtonElement) return void showToRoom(article, row, show);
    const opener = target.closest("[data-open-step]");
    if (opener instanceof HTMLElement) void toggle(article, row, opener);
  });

  /** @param {HTMLElement} article @param {HTMLElement} row @param {HTMLElement} opener */
  async function toggle(article, row, opener) {
    const shown = row.querySelector("[data-details]");
    opener.setAttribute("aria-expanded", String(!shown));
    if (shown) return view.keepPlace(() => shown.remove());
    const details = await detailsOf(article, row);
    if (!details) return void opener.setAttribute("aria-expanded", "false");
    view.keepPlace(() => row.append(details));
  }

  /** @param {HTMLElement} article @param {HTMLElement} row @returns {Promise<HTMLElement | null>} */
  async function detailsOf(article, row) {
    const run = view.runOf(article);
    const shown = view.shownOf(article)?.steps?.find(({ call }) => call === row.dataset.call)?.shown;
    if (!run || !view.state.maySeeCalls(run)) return shown === undefined ? null : makeDetails({ result: shown });
    try {
      const { items } = await callApi("GET", `/runs/${run.id}/calls`);
      const call = items.find((/** @type {{id: string}} */ { id }) => id === row.dataset.call);
      if (call?.by) call.decider = view.state.members.get(call.by)?.name;
      const isSeen = call && (call.arguments !== null || call.result !== null);
      if (isSeen) return makeDetails(call, { mayShow: call.may_show && shown === undefined });
      row.dataset.closed = "";
    } catch (error) {
      if (!(error instanceof CommandRefused) || error.code !== "forbidden") showError(error);
      else row.dataset.closed = "";
    }
    view.acting.show(article); // without the button, if the step stays closed
    return null;
  }

  /** @param {HTMLElement} article @param {HTMLElement} row @param {HTMLButtonElement} button */
  async function showToRoom(article, row, button) {
    button.disabled = true;
    try {
      await callApi("POST", `/runs/${article.dataset.runId}/calls/${row.dataset.call}/show`);
      button.replaceWith(note(gettext("Everyone in this room can open the result.")));
    } catch (error) {
      button.disabled = false;
      showError(error);
    }
  }
}

/** @param {Call} call @param {{mayShow?: boolean}} [options] @returns {HTMLElement} */
function makeDetails(call, { mayShow = false } = {}) {
  const { arguments: sent, result } = call;
  const details = document.createElement("div");
  details.className = "step-details";
  details.dataset.details = "";
  if (call.decider) details.append(decision(call));
  if (sent) details.append(note(gettext("Sent")), source(visible(sent)));
  if (result) details.append(note(gettext("Result")), source(result));
  if (!result || !mayShow) return details;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button";
  button.dataset.size = "small";
  button.dataset.kind = "line";
  button.dataset.showResult = "";
  button.textContent = gettext("Show the result to the room");
  details.append(button);
  return details;
}

/** The card has shown the decision; it is not on the page that is loaded later. @param {Call} call @returns {HTMLElement} */
function decision({ state, note: text, decider: name = "", decided_at: at }) {
  const line = note("");
  const denied = text ? gettext("Denied by %(name)s: “%(text)s”") : gettext("Denied by %(name)s");
  setSentence(line, state === "denied" ? denied : gettext("Allowed by %(name)s"), { name, text: text ?? "" });
  if (at) line.append(`, ${shortTime(new Date(at))}`);
  return line;
}

/** @param {string} words @returns {HTMLElement} */
function note(words) {
  const line = document.createElement("p");
  line.className = "step-note";
  line.textContent = words;
  return line;
}

/** @param {string} text of a model or a tool @returns {HTMLElement} */
function source(text) {
  const box = document.createElement("pre");
  box.className = "raw";
  box.tabIndex = 0; // it scrolls
  box.textContent = text;
  return box;
}
