// @ts-check
// The personas that answer a message in turn; rooms/pages/acting/round_strip.py renders the same.

import { clockTime } from "../dates.js";
import { clone, neededPart, part, setMark, setText } from "../elements.js";
import { setItems, setSign } from "./sentences.js";
import { fill, gettext } from "../../maru/translations.js";

/** @typedef {import("../room_state.js").RoomState} RoomState */
/** @typedef {import("../protocol.js").Command} Command */
/** @typedef {import("../protocol.js").Message} Message */
/** @typedef {import("../protocol.js").Run} Run */
/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */
/** @typedef {NonNullable<Message["round"]>["steps"][number]} Step */

const OPEN = new Set(["running", "paused"]);
const SIGNS = /** @type {Record<string, string>} */ ({ running: "planks", asking: "hand", completed: "check", failed: "alert" });
const STOPPABLE = new Set(["queued", "running", "asking"]);

/** @param {HTMLElement} article @param {Message} message @param {RoomState} state */
export function setRound(article, { id, round, deleted }, state) {
  const strip = neededPart(article, "round", Boolean(round) && !deleted, (made) => part(article, "[data-body]").after(made));
  if (!strip || !round) return;
  const title = part(strip, "[data-round-title]");
  title.id = `${article.id.slice(0, article.id.indexOf("message-"))}round-${id}`;
  strip.setAttribute("aria-labelledby", title.id);
  const mayStop = round.requested_by === state.me || state.permissions.has("moderate");
  part(strip, "[data-round-stop]").hidden = !mayStop || !OPEN.has(round.state);
  part(strip, "[data-round-skip]").hidden = !mayStop || round.state !== "paused";
  const next = OPEN.has(round.state) ? round.steps.find((step) => step.state === "waiting") : undefined;
  const items = round.steps.map((step, at) => ({ id: step.persona, item: { step, number: at + 1 } }));
  setItems(part(strip, "[data-round-steps]"), "data-persona", items, () => clone("round-step"), (row, { step, number }) => {
    const run = state.runs.get(step.run ?? "");
    const shown = step === next ? "next" : stepState(step, run);
    setText(row, "[data-number]", String(number));
    setStep(row, step, shown, run, state, mayStop);
  });
}

/** @param {HTMLElement} row @param {Step} step @param {string} shown @param {Run | undefined} run @param {RoomState} state @param {boolean} mayStop */
function setStep(row, step, shown, run, state, mayStop) {
  const persona = state.personas.get(step.persona);
  const { pigment = "meok", lattice = "gyeoksal" } = persona ?? {};
  row.dataset.state = shown;
  row.dataset.pigment = pigment;
  row.dataset.run = step.run ?? "";
  setMark(row, { kind: "persona", id: step.persona, name: step.name, handle: "", role: "", wood: "", pigment, lattice });
  setText(row, "[data-name]", step.name);
  setSign(part(row, "[data-sign]"), SIGNS[shown] ?? "");
  setText(row, "[data-words]", stepWords(shown, run));
  const clock = part(row, "[data-elapsed]");
  if (shown === "running") clock.dataset.since = run?.started_at ?? new Date().toISOString();
  else delete clock.dataset.since;
  if (shown !== "running") clock.textContent = "";
  for (const [selector, isShown, label] of /** @type {const} */ ([
    ["[data-step-stop]", STOPPABLE.has(shown), gettext("Stop %(name)s's answer")],
    ["[data-step-again]", shown === "failed", gettext("Retry %(name)s's answer")],
  ])) {
    const button = part(row, selector);
    button.hidden = !mayStop || !isShown;
    button.setAttribute("aria-label", fill(label, { name: step.name }));
  }
}

/** @param {Step} step @param {Run | undefined} run @returns {string} the state of a step; of one that has begun, that of its run */
function stepState({ state }, run) {
  if (state === "waiting") return "later";
  if (state !== "running" || !run?.state) return state;
  return run.state === "waiting" ? "asking" : run.state;
}

/** @param {string} state @param {Run | undefined} run @returns {string} */
function stepWords(state, run) {
  if (state === "completed" && run?.ended_at) {
    const time = clockTime(new Date(run.ended_at), document.documentElement.lang);
    return fill(gettext("Done %(time)s"), { time });
  }
  const words = /** @type {Record<string, string>} */ ({
    next: gettext("Next"),
    later: gettext("Later"),
    queued: gettext("Queued"),
    running: gettext("Answering"),
    asking: gettext("Waiting for a decision"),
    completed: gettext("Done"),
    failed: gettext("Failed"),
    cancelled: gettext("Stopped"),
    skipped: gettext("Skipped"),
  });
  return words[state] ?? "";
}

/** @param {TimelineView} view @param {{request: (command: Command) => Promise<any>, showError: (error: unknown) => void}} callbacks */
export function startRounds(view, { request, showError }) {
  view.timeline.addEventListener("click", async (event) => {
    const button = /** @type {Element} */ (event.target).closest(".round button");
    const article = button?.closest(".message");
    if (!(button instanceof HTMLButtonElement) || !(article instanceof HTMLElement)) return;
    event.preventDefault(); // without scripts the button submits a form
    const round = view.messageOf(article)?.round?.id;
    const run = /** @type {HTMLElement | null} */ (button.closest("[data-run]"))?.dataset.run;
    button.disabled = true;
    try {
      if (button.matches("[data-round-stop]")) await request({ type: "round.cancel", round });
      else if (button.matches("[data-round-skip]")) await request({ type: "round.skip", round });
      else await request({ type: button.matches("[data-step-stop]") ? "run.cancel" : "run.retry", run });
    } catch (error) {
      showError(error);
    } finally {
      button.disabled = false;
    }
  });
}
