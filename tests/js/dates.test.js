// Times are formatted in the language of the page, and elapsed seconds follow the server's clock.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Clock } from "../../static/rooms/server_clock.js";
import { clockTime, dayKey, dayName, elapsed } from "../../static/rooms/dates.js";
import { shortTime } from "../../static/maru/local_times.js";

test("a time has hours and minutes", () => {
  assert.equal(clockTime(new Date(2026, 10, 19, 9, 5), "en"), "09:05");
  assert.equal(clockTime(new Date(2026, 10, 19, 14, 22), "ko"), "14:22");
  assert.equal(clockTime(new Date(2026, 10, 19, 0, 0), "en"), "00:00");
});

test("a day is named in the language of the page, with the year if it is not the current one", () => {
  const day = new Date(2026, 10, 19);

  assert.equal(dayName(day, "en", new Date(2026, 11, 1)), "Thursday 19 November");
  assert.equal(dayName(day, "ko", new Date(2026, 11, 1)), "11월 19일 목요일");
  assert.match(dayName(day, "en", new Date(2027, 0, 1)), /2026$/);
});

test("two times on one day have the same key", () => {
  assert.equal(dayKey(new Date(2026, 10, 19, 0, 0)), dayKey(new Date(2026, 10, 19, 23, 59)));
  assert.notEqual(dayKey(new Date(2026, 10, 19)), dayKey(new Date(2026, 10, 20)));
});

test("elapsed time is minutes and seconds, then hours", () => {
  assert.deepEqual(
    [-5, 0, 4_999, 12_000, 60_000, 3_723_000].map(elapsed),
    ["0:00", "0:00", "0:04", "0:12", "1:00", "1:02:03"],
  );
});

test("elapsed seconds do not depend on the error of the local clock", () => {
  let now = Date.parse("2026-11-19T12:00:00Z") + 3_600_000; // an hour ahead
  const clock = new Clock(() => now);
  clock.addSample("2026-11-19T12:00:00Z");

  now += 5_000;

  assert.equal(clock.since("2026-11-19T12:00:00Z"), 5_000);
});

test("the frame with the smallest delay sets the clock difference", () => {
  const clock = new Clock(() => 0);

  clock.addSample("1970-01-01T00:00:00Z", 900);
  clock.addSample("1970-01-01T00:00:10Z", 10_050);
  clock.addSample("1970-01-01T00:00:20Z", 20_400);

  assert.equal(clock.ahead, 50);
});

test("a short time has its day unless it is today, in the order of the room", () => {
  const now = new Date(2026, 10, 19, 15, 0);
  const times = [new Date(2026, 10, 19, 14, 22), new Date(2026, 10, 1, 9, 5), new Date(2025, 10, 1, 9, 5)];

  globalThis.document = { documentElement: { lang: "en" } };
  assert.deepEqual(times.map((time) => shortTime(time, now)), ["14:22", "1 Nov, 09:05", "1 Nov 2025, 09:05"]);
  globalThis.document = { documentElement: { lang: "ko" } };
  assert.deepEqual(times.map((time) => shortTime(time, now)), ["14:22", "11월 1일 09:05", "2025년 11월 1일 09:05"]);
});
