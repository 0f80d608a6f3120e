// Members of a large room: what the state knows, and what the page asks the server for.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { MemberLoader } from "../../static/rooms/member_loader.js";
import { shownHandle } from "../../static/rooms/namesakes.js";
import { RoomState } from "../../static/rooms/room_state.js";
import { fullState, LAYOUT, ME } from "./model_room.js";

const person = (n, name = `Person ${n}`) => ({ user: `user-${n}`, name, handle: `p${n}`, wood: "pine", role: "member" });

function largeRoom({ count = 150, known = 3 } = {}) {
  const full = fullState({ members: Array.from({ length: known }, (_, n) => person(n)), members_complete: false });
  full.room = { ...full.room, member_count: count };
  return new RoomState(full, 1, ME, LAYOUT);
}

test("changes of unknown members keep the number of members right", () => {
  const state = largeRoom();
  const frames = [
    { type: "member.added", seq: 2, member: person(200) },
    { type: "member.removed", seq: 3, user: "user-100" },
    { type: "member.removed", seq: 4, user: "user-0" },
    { type: "member.changed", seq: 5, member: person(101) },
  ];

  for (const frame of frames) state.apply(frame);
  state.apply({ type: "members.loaded", members: [person(1), person(102)] });

  assert.equal(state.memberCount, 149);
  assert.deepEqual([...state.members.keys()], [1, 2, 200, 101, 102].map((n) => `user-${n}`));
});

test("a small room counts the members that it has", () => {
  const state = new RoomState(fullState(), 1, ME, LAYOUT);

  state.apply({ type: "member.added", seq: 2, member: person(1) });
  state.apply({ type: "members.loaded", members: [person(2)] });

  assert.equal(state.membersComplete, true);
  assert.equal(state.memberCount, 2);
});

test("the handle of an unknown author is shown, because a member may have the same name", () => {
  const state = largeRoom();

  assert.equal(shownHandle(state, { id: "user-99", name: "Somebody", handle: "p99" }), "@p99");
  assert.equal(shownHandle(state, { id: "user-1", name: "Person 1", handle: "p1" }), "");
});

test("typed words are searched once, after a pause", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const asked = [];
  const state = largeRoom();
  const fetchPage = async (room, query) => {
    asked.push([room, query.q]);
    return { items: [person(77)], next: null };
  };
  const loader = new MemberLoader(state, (members) => state.apply({ type: "members.loaded", members }), fetchPage);

  for (const words of ["p", "p7", "p77"]) loader.find(words);
  mock.timers.tick(1_000);
  await new Promise(setImmediate); // the answer has arrived
  loader.find("p77");
  mock.timers.tick(1_000);
  mock.timers.reset();

  assert.deepEqual(asked, [["room", "p77"]]);
  assert.equal(state.members.get("user-77")?.name, "Person 77");
});

test("pages are loaded until the server has no more, and a failure can be repeated", async () => {
  const state = largeRoom({ count: 5 });
  const pages = { undefined: { items: [person(0), person(3)], next: "user-3" }, "user-3": { items: [person(4)], next: null } };
  let isOffline = true;
  const fetchPage = async (_room, { cursor }) => {
    if (isOffline) throw new Error("offline");
    return pages[cursor];
  };
  const loader = new MemberLoader(state, (members) => state.apply({ type: "members.loaded", members }), fetchPage);

  await loader.loadMore();
  assert.equal(loader.hasMore, true);
  isOffline = false;
  await loader.loadMore();
  assert.equal(loader.hasMore, true);
  await loader.loadMore();

  assert.equal(loader.hasMore, false);
  assert.equal(state.members.size, 5);
});
