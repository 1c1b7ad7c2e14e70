import { type Clock, pause } from '@signalbox/runtime';

/** Made once: a reason that each ring made anew would cost more than the wait. */
const RUNG = new Error('rung');

/** Wakes its one waiter. A ring while nobody waits is kept for the next wait, so none is lost. */
export class Bell {
  #rung = false;
  #sleep: AbortController | null = null;

  readonly ring = (): void => {
    this.#rung = true;
    this.#sleep?.abort(RUNG);
  };

  /** Resolves at the next ring, or after `ms`. */
  async wait(clock: Clock, ms: number): Promise<void> {
    if (!this.#rung) {
      const sleep = new AbortController();
      this.#sleep = sleep;
      await pause(clock, ms, sleep.signal);
      this.#sleep = null;
    }
    this.#rung = false;
  }
}
