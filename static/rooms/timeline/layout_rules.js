// @ts-check
// The rules for day lines and for messages that continue the message before them; independent of the page.
//
// The constants come from rooms/pages/layout.json through the script of the language. The server applies the same
// rules in rooms/pages/layout.py; tests/rooms/pages/test_layout_rules.py compares both.

import { dayKey } from "../dates.js";

/** @typedef {"queued" | "thinking" | "streaming" | "waiting" | "completed" | "failed" | "stopped" | "deleted"} AnswerState */
/** @typedef {{busy?: boolean, stop?: "stop" | "cancel", again?: "retry" | "answer_again", figures?: boolean}} StateRules */

/** The content of layout.json.
 * @typedef {{
 *   continue_within_seconds: number,
 *   state_of_status: Record<string, AnswerState>,
 *   state_of_run: Record<string, AnswerState>,
 *   retryable_run_states: string[],
 *   states: Record<string, StateRules>,
 *   fold_steps_from: number,
 *   step_signs: Record<string, string>,
 *   argument_lines: number,
 *   argument_columns: number,
 * }} LayoutRules */

/** The fields of a message that decide its place.
 * @typedef {{authorKind: string, authorId: string, at: Date}} Placed */

/**
 * @param {Placed | null} before the message before it
 * @param {Placed} item
 * @returns {boolean} whether a day line stands before `item`, in the time zone of the browser
 */
export function startsDay(before, item) {
  return before === null || dayKey(before.at) !== dayKey(item.at);
}

/**
 * Returns true if `item` needs no name because the same person wrote both messages within a few minutes. The
 * caller checks that no day line and no unread line stands between them.
 * @param {Placed | null} before
 * @param {Placed} item
 * @param {LayoutRules} rules
 * @returns {boolean}
 */
export function continues(before, item, rules) {
  if (before === null || !item.authorId || before.authorId !== item.authorId) return false;
  const bothPeople = before.authorKind === "user" && item.authorKind === "user";
  return bothPeople && item.at.getTime() - before.at.getTime() < rules.continue_within_seconds * 1000;
}
