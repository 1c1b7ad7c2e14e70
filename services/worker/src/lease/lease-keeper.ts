import { newId } from '@signalbox/contracts';
import { type Activation, closeLease, openLease, type Partition, renewLease } from '@signalbox/run-state';
import { type Clock, type Heartbeat, type Logger, pause } from '@signalbox/runtime';

/**
 * Owns this process's lease, which carries all its runs and holds (Leases).
 * States: none -> live -> lost -> none. A lost identity is never used again: whoever works under it sees its
 * signal abort, and a new identity is taken. The deadline is on the monotonic clock and earlier than the
 * store's, so that a paused process notices before it sends anything (R4).
 */

export interface Identity {
  readonly leaseId: string;
  /** Aborts when the identity is lost. */
  readonly lost: AbortSignal;
  /** False from the deadline on, even before the signal fires. */
  isLive(): boolean;
}

class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

export interface LeaseKeeperDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly leaseMs: number;
  /** Beats at each round, also while the store is away. */
  readonly heart: Pick<Heartbeat, 'beat'>;
  /** Renewals also admit; what they admit goes to the queue. */
  readonly onActivations: (activations: readonly Activation[]) => void;
}

interface Held extends Identity {
  readonly abort: AbortController;
  deadline: number;
}

/** Part of the lease that is ours to use; the rest covers a late clock and a slow network. */
const USABLE = 0.8;

export class LeaseKeeper {
  readonly #deps: LeaseKeeperDeps;
  readonly #stop = new AbortController();
  #slots: number;
  #held: Held | null = null;
  /** Being opened. Whoever opens meanwhile, or after an error, opens this one: no lease is left that nobody holds. */
  #next: Held | null = null;
  #loop: Promise<void> = Promise.resolve();

  constructor(deps: LeaseKeeperDeps, slots: number) {
    this.#deps = deps;
    this.#slots = slots;
  }

  start(): void {
    this.#loop = this.#run();
  }

  /** The live identity; null while there is none, for instance while Redis is away. */
  current(): Identity | null {
    return this.#held?.isLive() === true ? this.#held : null;
  }

  /** Offers no more slots, but keeps what it holds. */
  async drain(): Promise<void> {
    this.#slots = 0;
    await this.#renew().catch((error: unknown) =>
      this.#deps.logger.warn('slots could not be withdrawn', { error }),
    );
  }

  /** Gives the lease back. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    const held = this.#held;
    this.#held = null;
    if (held !== null) await closeLease(this.#deps.partition, held.leaseId);
  }

  async #run(): Promise<void> {
    const { clock, leaseMs, heart } = this.#deps;
    while (!this.#stop.signal.aborted) {
      heart.beat();
      await this.#renewInTime();
      if (this.#held?.isLive() === false) this.#lose('its deadline passed');
      const pauseMs =
        this.#held === null
          ? Math.min(500, leaseMs / 10)
          : Math.min(leaseMs / 5, this.#held.deadline - clock.monotonic());
      await pause(clock, Math.max(10, pauseMs), this.#stop.signal);
    }
  }

  /** Waits for the store no longer than the lease lasts: open calls must end at the deadline, not after it. */
  async #renewInTime(): Promise<void> {
    const { clock, logger } = this.#deps;
    const done = new AbortController();
    const renewed = this.#renew()
      .catch((error: unknown) => logger.warn('lease could not be renewed', { error }))
      .finally(() => done.abort());
    if (this.#held === null) return renewed;
    const deadline = clock.sleep(this.#held.deadline - clock.monotonic(), done.signal).catch(() => renewed);
    await Promise.race([renewed, deadline]);
  }

  async #renew(): Promise<void> {
    const { partition, clock, leaseMs, onActivations } = this.#deps;
    const known = this.#held;
    const held = known ?? (this.#next ??= this.#newIdentity());
    const sentAt = clock.monotonic();
    const lease = { leaseId: held.leaseId, leaseMs, slots: this.#slots };
    const outcome = known === null ? await openLease(partition, lease) : await renewLease(partition, lease);
    if (outcome.type === 'live') onActivations(outcome.activations);
    if (this.#held !== known || held.lost.aborted) return; // lost meanwhile, or opened by the other
    // A reply after the deadline comes too late: who saw it pass has dropped its run, and nobody would have it.
    if (outcome.type === 'expired') this.#lose('the store says it expired');
    else if (known?.isLive() === false) this.#lose('its deadline passed');
    else {
      held.deadline = sentAt + leaseMs * USABLE;
      this.#held = held;
      this.#next = null;
    }
  }

  #newIdentity(): Held {
    const { clock } = this.#deps;
    const abort = new AbortController();
    const held: Held = {
      leaseId: newId('lease'),
      lost: abort.signal,
      abort,
      deadline: 0,
      isLive: () => !abort.signal.aborted && clock.monotonic() < held.deadline,
    };
    return held;
  }

  #lose(why: string): void {
    const held = this.#held;
    if (held === null) return;
    this.#held = null;
    const { partition, logger } = this.#deps;
    logger.warn('lease lost: its runs are dropped', { lease: held.leaseId, why });
    held.abort.abort(new LeaseLostError(`lease ${held.leaseId} is lost: ${why}`));
    // The store may count it as live for longer; its runs need not wait for that.
    closeLease(partition, held.leaseId).catch(() => undefined);
  }
}
