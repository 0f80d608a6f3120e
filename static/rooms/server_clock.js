// @ts-check
// Seconds that pass while an answer is made, counted from the server's `run.started`.

import { elapsed } from "./dates.js";

/**
 * How far this machine's clock is ahead of the server's. A frame takes its time to come, so the
 * smallest difference seen is the nearest to the truth.
 */
export class Clock {
  /** @param {() => number} [now] */
  constructor(now = Date.now) {
    this.now = now;
    this.ahead = Infinity;
  }

  /** @param {string} moment that the server has just named @param {number} [seen] when we heard it */
  hear(moment, seen = this.now()) {
    const difference = seen - Date.parse(moment);
    if (difference < this.ahead) this.ahead = difference;
  }

  /** @param {string} moment of the server @returns {number} milliseconds since then */
  since(moment) {
    return this.now() - (Number.isFinite(this.ahead) ? this.ahead : 0) - Date.parse(moment);
  }
}

/**
 * Writes the seconds into every `[data-since]` inside `root`, as long as there are any.
 * @param {ParentNode} root
 * @param {Clock} clock
 * @returns {() => void} looks again whether there is something to count
 */
export function startClock(root, clock) {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  let timer;
  const tick = () => {
    const places = root.querySelectorAll("[data-since]");
    for (const place of places) {
      const text = elapsed(clock.since(/** @type {HTMLElement} */ (place).dataset.since ?? ""));
      if (place.textContent !== text) place.textContent = text;
    }
    if (!places.length) timer = void clearInterval(timer);
  };
  return () => {
    timer ??= setInterval(tick, 1000);
    tick();
  };
}
