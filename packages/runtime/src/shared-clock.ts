import type { Clock } from './clock.ts';

/**
 * Wall time as a server has it that all processes ask, whatever their machines say: theirs differ, and are set. Owns how
 * far the server's time is from the monotonic clock; until it is told, the machine's counts.
 */
export class SharedClock implements Clock {
  readonly #own: Clock;
  #offset: number | null = null;

  constructor(own: Clock) {
    this.#own = own;
  }

  now(): number {
    return this.#offset === null ? this.#own.now() : Math.round(this.#offset + this.#own.monotonic());
  }

  monotonic(): number {
    return this.#own.monotonic();
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return this.#own.sleep(ms, signal);
  }

  /** How far the machine's clock is ahead, ms. */
  get ownAhead(): number {
    return this.#own.now() - this.now();
  }

  /** It was `ms` there at some instant from `sentAt` (monotonic) to now: what is known stays if that fits. */
  told(ms: number, sentAt: number): void {
    const [least, most] = [ms - this.#own.monotonic(), ms - sentAt];
    const known = this.#offset ?? (least + most) / 2;
    this.#offset = Math.min(most, Math.max(least, known));
  }
}
