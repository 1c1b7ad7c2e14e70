/**
 * Owns this process's claim to lead. Several schedulers run, one works.
 *
 * States: following -> leading -> following. A leader renews at a third of its lease; once a renewal fails
 * or comes too late it follows again, and asks anew. Leading is economy, not safety: repairing is safe to
 * do twice, so a leader that was paused past its lease and acts once more does no harm.
 */
import { holdLeadership, type Partition, releaseLeadership } from '@signalbox/run-state';
import type { Clock, Logger } from '@signalbox/runtime';

export interface LeadershipDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Unique to this process. */
  readonly token: string;
  /** How long the others wait for a leader that is silent. */
  readonly leaseMs: number;
}

const SECOND = 1000;

/** A lost scheduler is replaced well before the runs of a lost worker fall due. */
export const leaderLeaseMs = (workerLeaseSeconds: number): number =>
  Math.min(10 * SECOND, Math.max(SECOND, Math.floor((workerLeaseSeconds * SECOND) / 3)));

export class Leadership {
  readonly #deps: LeadershipDeps;
  /** On the monotonic clock, and earlier than the store's: counted from before the request. */
  #deadline = Number.NEGATIVE_INFINITY;
  #renewAt = Number.NEGATIVE_INFINITY;
  #leading = false;

  constructor(deps: LeadershipDeps) {
    this.#deps = deps;
  }

  isLeader(): boolean {
    return this.#leading && this.#deps.clock.monotonic() < this.#deadline;
  }

  /** Leads, or tries to. Throws `state_unavailable`. */
  async hold(): Promise<boolean> {
    const { partition, clock, token, leaseMs } = this.#deps;
    const askedAt = clock.monotonic();
    if (this.isLeader() && askedAt < this.#renewAt) return true;
    const held = await holdLeadership(partition, { token, leaseMs });
    this.#become(held);
    this.#deadline = askedAt + leaseMs;
    this.#renewAt = askedAt + leaseMs / 3;
    return held;
  }

  /** Lets another scheduler take over at once. Throws `state_unavailable`. */
  async release(): Promise<void> {
    if (!this.#leading) return;
    this.#become(false);
    await releaseLeadership(this.#deps.partition, this.#deps.token);
  }

  #become(leading: boolean): void {
    if (leading === this.#leading) return;
    this.#leading = leading;
    this.#deps.logger.info(leading ? 'leading' : 'following');
  }
}
