// The texts of one animation frame are shown together, and only the last text of each answer.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FrameCommits } from "../../static/rooms/timeline/frame_commits.js";

test("a frame shows the last text of each answer in one change", () => {
  /** @type {(() => void)[]} */
  const frames = [];
  globalThis.requestAnimationFrame = (callback) => frames.push(callback);
  const shown = [];
  let changes = 0;
  const commits = new FrameCommits(
    (change) => {
      changes += 1;
      change();
    },
    (article, text) => shown.push([article.name, text]),
  );
  const [one, two, gone] = ["one", "two", "gone"].map((name) => ({ name, isConnected: name !== "gone" }));

  commits.set(one, "a");
  commits.set(two, "b");
  commits.set(one, "ab");
  commits.set(gone, "c");
  assert.equal(frames.length, 1);
  frames[0]();
  assert.deepEqual(shown, [["one", "ab"], ["two", "b"]]);
  assert.equal(changes, 1);

  commits.set(one, "abc");
  commits.drop(one);
  frames[1]();
  assert.equal(changes, 1);
});
