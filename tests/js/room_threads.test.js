// RoomState keeps the messages of open threads apart from those of the room.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Gap } from "../../static/rooms/gap.js";
import { RoomState } from "../../static/rooms/room_state.js";
import { fullState, LAYOUT, ME, message } from "./model_room.js";

const ANSWER = { kind: "persona", id: "persona-garam", name: "Garam", handle: "garam" };
const REPLIES = { count: 1, last_at: "2026-11-19T11:03:00.000Z", authors: [{ kind: "user", id: ME, name: "Seojun" }] };

const root = () => message("root", { seq: 5 });
const reply = (id, seq, overrides = {}) => message(id, { seq, thread: "root", ...overrides });

function room() {
  return new RoomState(fullState({ messages: [root()] }), 10, ME, LAYOUT);
}

function apply(state, event) {
  return state.apply({ ...event, room: "room", seq: state.seq + 1 });
}

/** A room whose thread is open, with these replies. */
function opened(...replies) {
  const state = room();
  state.apply({ type: "thread.opened", root: "root" });
  state.apply({ type: "thread.loaded", root: "root", messages: [root(), ...replies], runs: [], members: [] });
  return state;
}

const inThread = (state) => [...state.threads.messages("root").keys()];

test("a reply is in its open thread, and in the room only if it was sent there too", () => {
  const state = opened();

  const shown = apply(state, { type: "message.created", message: reply("a", 11) });
  apply(state, { type: "message.created", message: reply("b", 12, { also_in_room: true }) });
  apply(state, { type: "message.created", message: reply("c", 13, { thread: "other" }) });

  assert.deepEqual(shown, [{ what: "message", message: "a" }]);
  assert.deepEqual([...state.messages.keys()], ["root", "b"]);
  assert.deepEqual(inThread(state), ["root", "a", "b"]);
});

test("a reply of a thread that is not open changes nothing but the summary of the root", () => {
  const state = room();

  assert.deepEqual(apply(state, { type: "message.created", message: reply("a", 11) }), []);
  const changes = apply(state, { type: "thread.changed", message: "root", replies: REPLIES });

  assert.deepEqual(changes, [{ what: "thread", message: "root" }]);
  assert.deepEqual(state.messages.get("root").replies, REPLIES);
});

test("events that come while a thread is loaded are newer than its messages", () => {
  const state = room();
  state.apply({ type: "thread.opened", root: "root" });

  apply(state, { type: "message.created", message: reply("c", 11, { text: "new" }) });
  apply(state, { type: "message.updated", message: reply("b", 7, { text: "edited" }) });
  apply(state, { type: "reaction.changed", message: "a", reactions: { "👍": [ME] } });
  const loaded = [root(), reply("a", 6), reply("b", 7, { text: "old" })];
  state.apply({ type: "thread.loaded", root: "root", messages: loaded, runs: [], members: [] });

  assert.deepEqual(inThread(state), ["root", "a", "b", "c"]);
  assert.equal(state.message("b").text, "edited");
  assert.deepEqual(state.message("a").reactions, { "👍": [ME] });
});

test("a known message without HTML takes that of the loaded one", () => {
  const state = new RoomState(fullState({ messages: [{ ...root(), html: "" }] }), 10, ME, LAYOUT);
  state.apply({ type: "thread.opened", root: "root" });

  apply(state, { type: "reaction.changed", message: "root", reactions: { "👍": [ME] } });
  state.apply({ type: "thread.loaded", root: "root", messages: [{ ...root(), html: "<p>root</p>" }], runs: [], members: [] });

  assert.equal(state.threads.messages("root").get("root").html, "<p>root</p>");
  assert.deepEqual(state.threads.messages("root").get("root").reactions, { "👍": [ME] });
});

test("a version that replaces an answer while its thread is loaded stands alone", () => {
  const state = room();
  state.apply({ type: "thread.opened", root: "root" });

  apply(state, { type: "message.created", message: reply("second", 6, { replaces: "first" }) });
  apply(state, { type: "message.updated", message: reply("first", 11, { replaced_by: "second" }) });
  const loaded = [root(), reply("first", 6), reply("b", 7)];
  state.apply({ type: "thread.loaded", root: "root", messages: loaded, runs: [], members: [] });

  assert.deepEqual(inThread(state), ["root", "second", "b"]);
});

test("a new version of a root takes its thread: replies, open runs, and what the reader has not read", async () => {
  const { UnreadThreads } = await import("../../static/rooms/threads/unread_threads.js");
  const both = reply("both", 7, { also_in_room: true });
  const state = opened(reply("a", 6), both);
  state.loaded.set(both);
  const run = { id: "run", persona: "persona-garam", message: "a", answer: null, thread: "root", attempt: 1 };
  apply(state, { type: "run.queued", run });
  const unread = new UnreadThreads(state, "seojun", { root: 2 }, () => {});
  unread.addMentions({ root: 1 });

  const created = message("next", { seq: 5, author: ANSWER, replaces: "root", replies: REPLIES });
  apply(state, { type: "message.created", message: created });
  apply(state, { type: "message.updated", message: { ...root(), seq: 12, replaced_by: "next" } });
  unread.move("root", "next");

  assert.equal(state.threads.current("root"), "next");
  assert.deepEqual([...state.threads.messages("next").keys()], ["next", "a", "both"]);
  assert.deepEqual([...state.messages.keys()], ["next", "both"]);
  assert.deepEqual([state.message("a").thread, state.message("both").thread], ["next", "next"]);
  assert.equal(state.runs.get("run").thread, "next");
  assert.deepEqual([unread.of("root"), unread.of("next"), unread.mentions], [0, 2, 1]);
  apply(state, { type: "message.created", message: reply("c", 14, { thread: "next" }) });
  assert.equal([...state.threads.messages("next").keys()].at(-1), "c");
});

test("mentions in threads are unread until their thread is read", async () => {
  const { UnreadThreads } = await import("../../static/rooms/threads/unread_threads.js");
  const state = new RoomState(fullState({ messages: [root()] }), 10, ME, LAYOUT);
  const unread = new UnreadThreads(state, "seojun", {}, () => {});
  const html = '<span class="mention" data-handle="seojun">';
  const by = (overrides) => message("x", { thread: "root", author: ANSWER, html, ...overrides });

  unread.onMessage(by({}), false);
  unread.onMessage(by({ also_in_room: true }), false); // it is read with the room
  unread.onMessage(by({}), true);
  assert.equal(unread.mentions, 1);
  unread.load({ root: 7, older: 3 });
  assert.deepEqual([unread.of("root"), unread.of("older")], [0, 3]);
  unread.read("root");

  assert.equal(unread.mentions, 0);
});

test("an answer in an open thread streams, and one in a closed thread is ignored", () => {
  const state = opened();
  const answer = reply("answer", 11, { author: ANSWER, run: "run", status: "streaming" });
  const run = { id: "run", persona: "persona-garam", message: "a", answer: "answer", thread: "root", attempt: 1 };
  const delta = { type: "message.delta", message: "answer", run: "run", attempt: 1 };
  apply(state, { type: "message.created", message: answer });
  apply(state, { type: "run.started", run });

  assert.deepEqual(state.apply({ ...delta, seq: 0, text: "one" }), [{ what: "text", message: "answer" }]);
  state.apply({ type: "thread.closed", root: "root" });

  assert.deepEqual([...state.live], []);
  assert.deepEqual(state.apply({ ...delta, seq: 1, text: "two" }), []);
  assert.throws(() => state.apply({ ...delta, message: "unknown", run: "other", seq: 1, text: "x" }), Gap);
});

test("a new state replaces the room and the open threads", () => {
  const state = opened(reply("a", 6), reply("gone", 7));
  const inRoom = [message("later", { seq: 20 }), reply("b", 21, { also_in_room: true })];
  const messages = [...inRoom, root(), reply("a", 6)];

  const snapshot = { seq: 30, from: 30, complete: false, events: null, live: [] };
  state.apply({ type: "room.snapshot", ref: "1", ...snapshot, state: fullState({ messages }) });

  assert.deepEqual([...state.messages.keys()], ["later", "b"]);
  assert.deepEqual(inThread(state), ["root", "a", "b"]);
});

test("replies are counted for a reader who follows the thread, wrote its root, or is mentioned", async () => {
  const { UnreadThreads } = await import("../../static/rooms/threads/unread_threads.js");
  const state = new RoomState(fullState({ messages: [root(), message("other", { author: ANSWER })] }), 10, ME, LAYOUT);
  const changes = [];
  const unread = new UnreadThreads(state, "seojun", { followed: 1 }, (change) => changes.push(change));
  const by = (thread, overrides = {}) => message("x", { thread, author: ANSWER, ...overrides });

  unread.onMessage(by("followed"), false);
  unread.onMessage(by("root"), false);
  unread.onMessage(by("other"), false);
  assert.deepEqual([unread.of("followed"), unread.of("root"), unread.of("other")], [2, 1, 0]);
  unread.onMessage(by("other", { html: '<span class="mention" data-handle="seojun">' }), false);
  unread.onMessage(by("other"), true);
  unread.read("followed");
  unread.onMessage(by("root", { author: message("").author }), false);

  assert.deepEqual(["followed", "root", "other"].map((id) => unread.of(id)), [0, 0, 0]);
  assert.deepEqual(changes, [1, 1, -1, -1, -1]);
  unread.set("followed", false, 0);
  unread.onMessage(by("followed"), false);
  assert.equal(unread.of("followed"), 0);
});
