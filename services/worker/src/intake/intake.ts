import type { Activation, ActivationEnd } from '@signalbox/run-state';
import { type CheckResult, type Clock, pause } from '@signalbox/runtime';

/**
 * What comes in from the queue. Owns how many activations are here, and since when work waits in the queue that
 * this process has room for and does not get: then its fetching is broken, whatever its connections say.
 * States: fetching -> starved (jobs wait, slots are free, none comes) -> fetching. Starved for longer than the limit
 * is not alive. A queue that cannot be read says nothing: a Redis that is away is no fault of this process.
 */

export interface IntakeDeps {
  readonly slots: number;
  readonly work: (activation: Activation) => Promise<ActivationEnd>;
  /** Jobs that anybody may take now. */
  readonly waiting: () => Promise<number>;
  readonly clock: Clock;
  /** How long work may wait beside free slots. */
  readonly limitMs: number;
}

const LOOK_EVERY_MS = 2000;

export class Intake {
  readonly #deps: IntakeDeps;
  #slots: number;
  #here = 0;
  #taken = 0;
  #starvedAt: number | null = null;
  #emptied = Promise.withResolvers<void>();

  constructor(deps: IntakeDeps) {
    this.#deps = deps;
    this.#slots = deps.slots;
  }

  offer(slots: number): void {
    this.#slots = slots;
  }

  /** An activation was fetched. */
  async take(activation: Activation): Promise<ActivationEnd> {
    this.#here += 1;
    this.#taken += 1;
    this.#starvedAt = null;
    try {
      return await this.#deps.work(activation);
    } finally {
      this.#here -= 1;
      if (this.#here === 0) {
        this.#emptied.resolve();
        this.#emptied = Promise.withResolvers();
      }
    }
  }

  /** Resolves when nothing is under work. */
  async empty(): Promise<void> {
    if (this.#here > 0) await this.#emptied.promise;
  }

  /** One look at what waits. */
  async look(): Promise<void> {
    const { waiting, clock } = this.#deps;
    const before = this.#taken;
    const jobs = await waiting().catch(() => 0);
    const starved = jobs > 0 && this.#here < this.#slots && this.#taken === before;
    if (!starved) this.#starvedAt = null;
    else this.#starvedAt ??= clock.monotonic();
  }

  check(): CheckResult {
    const { clock, limitMs } = this.#deps;
    const starvedMs = this.#starvedAt === null ? 0 : clock.monotonic() - this.#starvedAt;
    if (starvedMs <= limitMs) return { ok: true };
    const seconds = Math.round(starvedMs / 1000);
    return { ok: false, detail: `work waits and slots are free, but nothing was fetched for ${seconds} s` };
  }

  /** Looks until the process stops. Never rejects. */
  async watch(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      await this.look();
      await pause(this.#deps.clock, LOOK_EVERY_MS, stopping);
    }
    this.#starvedAt = null;
  }
}
