/**
 * Stores a batch in Postgres, then settles it in Redis. Owns nothing but when it last asked Postgres what it has; the
 * batch in hand is pending in the stream until it is settled, and doing it again changes nothing.
 *
 * storing:  the batch in one transaction, or in several side by side when it is large: each has its runs for itself,
 *           so the order within a run holds. Again and again until Postgres takes it; nothing is dropped (R9). It is
 *           given up, and stays pending, when the process stops, when the lead is lost, and when Postgres was away
 *           for so long that another replica, which may reach it, should try.
 * settling: after the commit (R8), first markStored, then acknowledge. Both are idempotent. A process
 *           that dies between them is followed by a redelivery that does both again; the other way
 *           round nobody would ever mark those runs, and their keys would stay in Redis for ever.
 * Every batch names the incarnation of run state it was read under; one that a verification overtook is dropped
 * here and read again (Trust). It names the batches that were acknowledged too: a Postgres that has fewer lost what it
 * had committed, so that run state is to be verified before anything else is stored.
 */
import { type BatchOrigin, RolledBackError, type WriteResult } from '@signalbox/audit-store';
import { type AuditRecord, SignalboxError } from '@signalbox/contracts';
import {
  acknowledge,
  type Leadership,
  markStored,
  type Partition,
  type Trust,
  withdrawTrust,
} from '@signalbox/run-state';
import { backoffMs, type Clock, type Heartbeat, type Logger, pause } from '@signalbox/runtime';
import { lanesOf } from './batch.ts';
import type { RelayMetrics } from './metrics.ts';
import type { RelayTrouble } from './relay-trouble.ts';

export interface BatchMoverDeps {
  readonly partition: Partition;
  readonly leadership: Leadership;
  /**
   * Returns when the batch is committed. Throws `state_untrusted` when it was read before a verification, as
   * RolledBackError when Postgres lost batches that were acknowledged.
   */
  readonly store: (records: readonly AuditRecord[], origin: BatchOrigin) => Promise<WriteResult>;
  /** Asks whether Postgres still has what it had. Throws as `store` does. */
  readonly check: (origin: BatchOrigin) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RelayMetrics;
  /** Beats at each attempt to store: while Postgres is away the relay goes on trying. */
  readonly heart: Pick<Heartbeat, 'beat'>;
  readonly trouble: RelayTrouble;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** As the relay's options of the same names. */
export interface BatchMoverOptions {
  readonly keepSeconds: number;
  readonly sweepEveryMs: number;
  readonly giveWayMs: number;
}

/** What became of a batch. given_up: some of it is pending. gave_way: and so that another replica may try. */
export type Move = 'moved' | 'given_up' | 'gave_way';

export const RETRY = { baseMs: 200, capMs: 5000 };

/** Run state was verified after the batch was read: what of it still counts lies in the stream. */
export const isStale = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'state_untrusted';

export class BatchMover {
  readonly #deps: BatchMoverDeps;
  readonly #options: BatchMoverOptions;
  #checkAt = Number.NEGATIVE_INFINITY;

  constructor(deps: BatchMoverDeps, options: BatchMoverOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /** Throws `state_untrusted` when the batch is to be read again, and what Redis says to settling. */
  async move(batch: readonly AuditRecord[], trust: Trust, stopping: AbortSignal): Promise<Move> {
    const moves = lanesOf(batch).map(async (lane) => {
      const result = await this.#store(lane, trust, stopping);
      if (typeof result === 'string') return result;
      await this.#settle(lane, result);
      return 'moved';
    });
    // Each to its end, so that nothing is in hand when reading begins again.
    const ends = await this.#deps.leadership.during(() => Promise.allSettled(moves));
    const moved = ends.map((end) => {
      if (end.status === 'rejected') throw end.reason;
      return end.value;
    });
    return moved.find((one) => one === 'gave_way') ?? moved.find((one) => one === 'given_up') ?? 'moved';
  }

  /** Also while nothing is to be stored: what Postgres lost is gone for good once Redis has forgotten it. */
  async check(trust: Trust): Promise<void> {
    const { clock, trouble } = this.#deps;
    const now = clock.monotonic();
    if (now < this.#checkAt) return;
    this.#checkAt = now + this.#options.sweepEveryMs;
    await this.#deps.check(this.#originOf(trust)).catch(async (error: unknown) => {
      await this.#withdrawIfOlder(error);
      if (!isStale(error)) trouble.tell('Postgres does not say what it has', error);
    });
  }

  async #store(
    batch: readonly AuditRecord[],
    trust: Trust,
    stopping: AbortSignal,
  ): Promise<WriteResult | 'given_up' | 'gave_way'> {
    const { leadership, clock, logger } = this.#deps;
    const startedAt = clock.monotonic();
    for (let attempt = 1; leadership.isLeader(); attempt += 1) {
      const result = await this.#try(batch, trust, attempt);
      if (result !== null) return result;
      if (stopping.aborted) return 'given_up';
      if (clock.monotonic() - startedAt >= this.#options.giveWayMs) {
        logger.warn('gives way: another replica may reach Postgres', { attempt });
        await leadership.release();
        return 'gave_way';
      }
      await pause(clock, backoffMs(attempt, { ...RETRY, random: this.#deps.random }), stopping);
      // The last chance was before the pause: with Postgres away each attempt only costs time.
      if (stopping.aborted) return 'given_up';
    }
    return 'given_up';
  }

  /** Null: Postgres did not take it. Throws when it is not to be tried again. */
  async #try(batch: readonly AuditRecord[], trust: Trust, attempt: number): Promise<WriteResult | null> {
    this.#deps.heart.beat();
    try {
      const result = await this.#deps.store(batch, this.#originOf(trust));
      this.#count(result);
      return result;
    } catch (error) {
      await this.#withdrawIfOlder(error);
      if (isStale(error)) throw error;
      this.#deps.trouble.tell('a batch could not be stored', error, { records: batch.length, attempt });
      return null;
    }
  }

  async #settle(batch: readonly AuditRecord[], { heads, batches }: WriteResult): Promise<void> {
    const { partition } = this.#deps;
    const stored = Array.from(heads, ([runId, { seq }]) => ({ runId, seq }));
    await markStored(partition, stored, this.#options.keepSeconds);
    await acknowledge(
      partition,
      batch.map(({ streamId }) => streamId),
      batches,
    );
  }

  #originOf({ incarnation, batches }: Trust): BatchOrigin {
    return { partition: this.#deps.partition.index, incarnation, batches };
  }

  async #withdrawIfOlder(error: unknown): Promise<void> {
    if (error instanceof RolledBackError) await withdrawTrust(this.#deps.partition);
  }

  #count({ inserted, duplicates, quarantined }: WriteResult): void {
    const { metrics, logger } = this.#deps;
    metrics.batchRows.observe(inserted + duplicates);
    metrics.written.inc(inserted);
    metrics.quarantined.inc(quarantined.length);
    logger.debug('batch stored', { inserted, duplicates, quarantined: quarantined.length });
    for (const { id, streamId, runId, seq, reason, detail } of quarantined) {
      logger.error('quarantined: see audit_quarantine', {
        quarantine_id: id,
        stream_id: streamId,
        run_id: runId,
        seq,
        reason,
        detail,
      });
    }
  }
}
