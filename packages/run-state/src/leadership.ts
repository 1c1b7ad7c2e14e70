/**
 * Owns this process's claim to lead its role on one partition. Several replicas run, one works.
 *
 * States: following -> leading -> following. A leader renews at a third of its lease; once a renewal fails or
 * comes too late it follows again, and asks anew. Leading is economy, not safety: what a leader does must be
 * safe to do twice, so that one that was frozen past its lease and acts once more does no harm.
 */
import { type Clock, type Logger, pause } from '@signalbox/runtime';
import { z } from 'zod';
import type { Partition } from './redis/partition.ts';
import { runScript } from './redis/scripts.ts';

/** Who may lead; each has a leader of its own. */
export type Role = 'scheduler' | 'audit-writer';

export interface LeadershipDeps {
  readonly partition: Partition;
  readonly role: Role;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Unique to this process. */
  readonly token: string;
  /** How long the others wait for a leader that is silent. */
  readonly leaseMs: number;
}

const SECOND = 1000;
const RENEWALS_PER_LEASE = 3;

/** A lost leader is replaced well before the runs of a lost worker fall due. */
export const leaderLeaseMs = (workerLeaseSeconds: number): number =>
  Math.min(10 * SECOND, Math.max(SECOND, Math.floor((workerLeaseSeconds * SECOND) / 3)));

const Held = z.literal([0, 1]).transform((held) => held === 1);

export class Leadership {
  readonly #deps: LeadershipDeps;
  /** On the monotonic clock, and earlier than the store's: counted from before the request. */
  #deadline = Number.NEGATIVE_INFINITY;
  #renewAt = Number.NEGATIVE_INFINITY;
  #leading = false;

  constructor(deps: LeadershipDeps) {
    this.#deps = deps;
  }

  /** How often a leader renews, and how long a follower waits before it asks again. */
  get renewMs(): number {
    return Math.floor(this.#deps.leaseMs / RENEWALS_PER_LEASE);
  }

  isLeader(): boolean {
    return this.#leading && this.#deps.clock.monotonic() < this.#deadline;
  }

  /** Leads, or tries to. Throws `state_unavailable`. */
  async hold(): Promise<boolean> {
    const { clock, leaseMs } = this.#deps;
    const askedAt = clock.monotonic();
    if (this.isLeader() && askedAt < this.#renewAt) return true;
    const held = Held.parse(await this.#ask('hold', leaseMs));
    this.#become(held);
    this.#deadline = askedAt + leaseMs;
    this.#renewAt = askedAt + this.renewMs;
    return held;
  }

  /** Renews the lead, if it is ours, for as long as `work` takes. */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const done = new AbortController();
    const renewing = this.#renewUntil(done.signal);
    try {
      return await work();
    } finally {
      done.abort();
      await renewing;
    }
  }

  /** Lets another replica take over at once. Throws `state_unavailable`. */
  async release(): Promise<void> {
    if (!this.#leading) return;
    this.#become(false);
    await this.#ask('release', 0);
  }

  async #renewUntil(done: AbortSignal): Promise<void> {
    const { clock, logger } = this.#deps;
    while (this.isLeader()) {
      await pause(clock, this.renewMs, done);
      if (done.aborted) return;
      await this.hold().catch((error: unknown) => logger.debug('the lead was not renewed', { error }));
    }
  }

  #ask(request: 'hold' | 'release', leaseMs: number): Promise<unknown> {
    const { partition, role, token } = this.#deps;
    return runScript(partition, 'leadership', [request, role, token, leaseMs]);
  }

  #become(leading: boolean): void {
    if (leading === this.#leading) return;
    this.#leading = leading;
    this.#deps.logger.info(leading ? 'leading' : 'following');
  }
}
