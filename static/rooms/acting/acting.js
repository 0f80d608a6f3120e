// @ts-check
// The entry of the bundle `acting`: draws what answers do and ask, and makes its buttons work. Most visits to a room
// need none of it; acting_parts.js loads the bundle.

import { setAsks } from "./asks.js";
import { startDecisions } from "./decisions.js";
import { setRound, startRounds } from "./round_strip.js";
import { setSteered } from "./steering.js";
import { startStepDetails } from "./step_details.js";
import { mergedSteps, setSteps } from "./steps.js";

/** @typedef {import("./acting_parts.js").Callbacks} Callbacks */
/** @typedef {import("./press_guard.js").PressGuard} PressGuard */
/** @typedef {import("../timeline/timeline_view.js").TimelineView} TimelineView */

/**
 * Draws the steps, asks, steering lines and the round of a message, as the state has them.
 * @param {HTMLElement} article @param {TimelineView} view
 */
export function drawActing(article, view) {
  const { state } = view;
  const [run, message, shown] = [view.runOf(article), view.messageOf(article), view.shownOf(article)];
  const isLast = shown === message;
  const steps = isLast ? mergedSteps(message?.steps, state.steps.get(run?.id ?? "")) : (shown?.steps ?? []);
  setSteps(article, shown?.deleted ? [] : steps, state.rules, {
    done: !state.rules.states[state.answerState(shown)].stop,
    asking: state.asks.callsOf(run?.id ?? ""),
    mayOpen: (step) => step.shown !== undefined || (isLast && run !== undefined && state.maySeeCalls(run)),
  });
  setSteered(article, (!shown?.deleted && shown?.steered) || [], state);
  setAsks(article, message?.deleted ? [] : state.asks.of(article.dataset.runId ?? ""), state);
  if (message) setRound(article, message, state);
}

/**
 * Makes the buttons of a timeline work.
 * @param {TimelineView} view @param {PressGuard} guard @param {Callbacks} callbacks
 * @returns {() => void} requests what cards need and is not known
 */
export function startActing(view, guard, callbacks) {
  startStepDetails(view, callbacks.showError);
  startRounds(view, callbacks);
  return startDecisions(view, guard, callbacks);
}
