import { setImmediate } from 'node:timers/promises';
import type { Clock } from '@signalbox/runtime';

/** Real time, except that sleeping takes none: the clock leaps ahead instead. */
export class LeapClock implements Clock {
  /** Every sleep that was asked for, ms. */
  readonly slept: number[] = [];
  #ahead = 0;

  now(): number {
    return Date.now() + Math.round(this.#ahead);
  }

  monotonic(): number {
    return performance.now() + this.#ahead;
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.slept.push(ms);
    this.leap(Math.max(0, ms));
    await setImmediate();
    signal?.throwIfAborted();
  }

  leap(ms: number): void {
    this.#ahead += ms;
  }
}
