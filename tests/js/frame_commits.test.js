// The texts of one animation frame are shown together, only the last text of each answer, and with pauses.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameCommits } from "../../static/rooms/timeline/frame_commits.js";

/** Commits with a clock, of which `show` uses `cost` milliseconds. @param {import("node:test").TestContext} context */
function commitsOf(context, cost = 0) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const made = { frames: [], shown: [], changes: 0, time: 0, partAt: 0, pass: (ms) => 0 };
  made.pass = (ms) => {
    made.time += ms;
    context.mock.timers.tick(ms);
  };
  globalThis.requestAnimationFrame = (callback) => made.frames.push(callback);
  const commits = new FrameCommits(
    (change) => {
      made.changes += 1;
      change();
    },
    (article, text) => {
      made.time += cost;
      made.shown.push([article.name, text]);
      return made.shown.length !== made.partAt;
    },
    () => made.time,
  );
  return { commits, made };
}

const articles = (...names) => names.map((name) => ({ name, isConnected: name !== "gone" }));

test("a frame shows the last text of each answer in one change", (context) => {
  const { commits, made } = commitsOf(context);
  const [one, two, gone] = articles("one", "two", "gone");

  commits.set(one, "a");
  commits.set(two, "b");
  commits.set(one, "ab");
  commits.set(gone, "c");
  assert.equal(made.frames.length, 1);
  made.frames[0]();
  assert.deepEqual(made.shown, [["one", "ab"], ["two", "b"]]);
  assert.equal(made.changes, 1);

  commits.set(one, "abc");
  assert.equal(made.frames.length, 1, "the next frame keeps a distance");
  made.pass(50);
  commits.drop(one);
  made.frames[1]();
  assert.equal(made.changes, 1);
});

test("a change that takes long is followed by a longer pause, and leaves other answers to the next frame", (context) => {
  const { commits, made } = commitsOf(context, 20);
  const [one, two] = articles("one", "two");

  commits.set(one, "a");
  commits.set(two, "b");
  made.frames[0]();
  assert.deepEqual(made.shown, [["one", "a"]]);
  commits.set(one, "ab");
  made.pass(59);
  assert.equal(made.frames.length, 1);
  made.pass(1);
  made.frames[1]();

  assert.deepEqual(made.shown, [["one", "a"], ["two", "b"]]);
  made.pass(80);
  made.frames[2]();
  assert.deepEqual(made.shown.at(-1), ["one", "ab"]);
});

test("a text of which a part is shown is shown again in the next frame", (context) => {
  const { commits, made } = commitsOf(context);
  const [one] = articles("one");
  made.partAt = 1;

  commits.set(one, "a long text");
  made.frames[0]();
  made.pass(50);
  made.frames[1]();
  made.pass(50);

  assert.deepEqual(made.shown, [["one", "a long text"], ["one", "a long text"]]);
  assert.equal(made.frames.length, 2);
});
