// Prints the layout that the page's scripts give to timelines; tests/rooms/pages/test_layout_rules.py
// compares it with the server's. Stdin: {layout, me, timelines: [{state, ended, unread}]}, where
// `unread` are the indexes of the messages that have the unread line before them.

import { readFileSync } from "node:fs";

import { RoomState } from "../../static/rooms/room_state.js";
import { continues, startsDay } from "../../static/rooms/timeline/layout_rules.js";

const { layout, me, timelines } = JSON.parse(readFileSync(0, "utf-8"));

const results = timelines.map(({ state: fullState, ended, unread }) => {
  const state = new RoomState(fullState, 0, me, layout);
  state.apply({ type: "history.loaded", messages: [], runs: ended });
  let before = null;
  return fullState.messages.map((message, index) => {
    const item = {
      authorKind: message.author.kind,
      authorId: message.author.id ?? "",
      at: new Date(message.created_at),
    };
    const day = startsDay(before, item);
    const continued = !day && !unread.includes(index) && continues(before, item, layout);
    const run = state.runs.get(message.run);
    before = item;
    return {
      state: state.answerState(message),
      starts_day: day,
      continued,
      may_stop: run !== undefined && state.mayStop(run),
      may_retry: run !== undefined && state.mayRetry(run),
    };
  });
});
process.stdout.write(JSON.stringify(results));
