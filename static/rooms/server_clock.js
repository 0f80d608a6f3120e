// @ts-check
// Counts the seconds of a running answer from the server's `run.started`.

import { elapsed } from "./dates.js";

/**
 * Estimates how far the clock of this machine is ahead of the server's. Frames are delayed, so that
 * the smallest difference is the best estimate.
 */
export class Clock {
  /** @param {() => number} [now] */
  constructor(now = Date.now) {
    this.now = now;
    this.ahead = Infinity;
  }

  /** @param {string} moment that the server has just sent @param {number} [seen] when it arrived */
  hear(moment, seen = this.now()) {
    const difference = seen - Date.parse(moment);
    if (difference < this.ahead) this.ahead = difference;
  }

  /** @param {string} moment in server time @returns {number} milliseconds since then */
  since(moment) {
    return this.now() - (Number.isFinite(this.ahead) ? this.ahead : 0) - Date.parse(moment);
  }
}

/**
 * Updates every `[data-since]` inside `root` each second while there are any.
 * @param {ParentNode} root
 * @param {Clock} clock
 * @returns {() => void} starts counting if there is something to count
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
