// @ts-check
// Shows the elapsed time of running answers, counted from the server's `run.started`.

import { elapsed } from "./dates.js";

/**
 * Estimates how far the clock of this machine is ahead of the server's clock. Frames are delayed, so
 * the smallest difference is the best estimate.
 */
export class Clock {
  /** @param {() => number} [now] */
  constructor(now = Date.now) {
    this.now = now;
    this.ahead = Infinity;
  }

  /** @param {string} moment the server's time in a frame @param {number} [arrivedAt] local time of its arrival */
  addSample(moment, arrivedAt = this.now()) {
    const difference = arrivedAt - Date.parse(moment);
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
 * @returns {() => void} call it after elements with `data-since` were added
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
