/**
 * Moves commits from the audit stream to Postgres. Owns the batch in hand and nothing else: whatever
 * happens to this process, the entries of that batch are pending in the stream, and storing them again
 * changes nothing. So any number of replicas may run, and a crash at any point is safe.
 *
 * States: following -> sweeping -> reading -> storing -> settling -> reading ... -> following, stopped.
 * following: another replica leads. It asks again and again, and leads as soon as a silent leader's lease is over.
 * sweeping: everything that was delivered and not acknowledged, in stream order and before anything new: what
 *           the leader before left behind, what a lost reply or a failed settlement left here. At the start of
 *           leading, after every failure, when idle, and every 10 s.
 * reading:  one read for the first batch, so that little is in hand before anything is stored; as long as reads come
 *           back full, twice as many for the next, until a batch is as large as it may be.
 * storing:  the batch in one transaction, or in several side by side when it is large: each has its runs for itself,
 *           so the order within a run holds. Again and again until Postgres takes it. Nothing more is read meanwhile,
 *           nothing is dropped (R9). It is given up, and stays pending, when the process stops, when the lead is lost,
 *           and when Postgres was away for so long that another replica, which may reach it, should try.
 * settling: after the commit (R8), first markStored, then acknowledge. Both are idempotent. A process
 *           that dies between them is followed by a redelivery that does both again; the other way
 *           round nobody would ever mark those runs, and their keys would stay in Redis for ever.
 * Leading is economy: a writer frozen past its lease may store and settle once more what its successor stores.
 * Every batch names the incarnation of run state it was read under; one that a verification overtook is dropped
 * here and read again (Trust). It names the batches that were acknowledged too: a Postgres that has fewer
 * lost what it had committed, so that run state is to be verified before anything else is stored.
 * A failure of Redis leads back to sweeping, through ensureGroup: a flushed Redis has no group either.
 */
import { type AuditRecord, SignalboxError } from '@signalbox/contracts';
import { type BatchOrigin, RolledBackError, type WriteResult } from '@signalbox/audit-store';
import {
  acknowledge,
  type AuditReader,
  ensureGroup,
  type Leadership,
  markStored,
  type Partition,
  readTrust,
  rewindGroup,
  type Trust,
  withdrawTrust,
} from '@signalbox/run-state';
import { backoffMs, type Clock, type Heartbeat, type Logger, pause } from '@signalbox/runtime';
import { batchesOf, lanesOf } from './batch.ts';
import { BatchReader } from './batch-reader.ts';
import type { RelayMetrics } from './metrics.ts';

export interface RelayDeps {
  readonly partition: Partition;
  readonly leadership: Leadership;
  readonly reader: AuditReader;
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
  /** Beats at each round and each attempt to store: while Postgres is away the relay goes on trying. */
  readonly heart: Pick<Heartbeat, 'beat'>;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface RelayOptions {
  /** How long Redis keeps a run that has ended and is stored whole. */
  readonly keepSeconds: number;
  /** Most stream entries of one batch. */
  readonly batchSize?: number;
  /**
   * About so many characters read at once: while Redis makes the reply all else waits, and it takes memory of a Redis
   * that may be short of it, most just when Postgres is back (R9).
   */
  readonly readLength?: number;
  /** No more is read into a batch that has so many characters; most of one transaction. */
  readonly batchLength?: number;
  /** Smaller batches start at least this far apart, ms, so that they grow under load. */
  readonly gatherMs?: number;
  readonly blockMs?: number;
  readonly sweepEveryMs?: number;
  /** How long Postgres may refuse a batch before another replica is let try. */
  readonly giveWayMs?: number;
}

const SECOND = 1000;
const MEGA = 2 ** 20;
const DEFAULTS = {
  batchSize: 5000,
  readLength: MEGA / 2,
  batchLength: 12 * MEGA,
  gatherMs: 200,
  blockMs: SECOND,
  sweepEveryMs: 10 * SECOND,
  giveWayMs: 10 * SECOND,
};
const RETRY = { baseMs: 200, capMs: 5 * SECOND };

/** Run state was verified after the batch was read: what of it still counts lies in the stream. */
const isStale = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'state_untrusted';

export class Relay {
  readonly #deps: RelayDeps;
  readonly #options: Required<RelayOptions>;
  readonly #reader: BatchReader;
  /** Of run state, when reading last began at the oldest entry. */
  #rewoundAt: number | null = null;
  #checkAt = Number.NEGATIVE_INFINITY;
  #trouble: Error | null = null;
  #gaveWay = false;
  #failures = 0;

  constructor(deps: RelayDeps, options: RelayOptions) {
    this.#deps = deps;
    this.#options = { ...DEFAULTS, ...options };
    this.#reader = new BatchReader(deps, this.#options);
  }

  /** Throws what keeps it from working now: the readiness check of this process. */
  assertWorking(): void {
    if (this.#trouble !== null) throw this.#trouble;
  }

  /** Ends soon after `stopping`, with no batch in hand. Never rejects. */
  async run(stopping: AbortSignal): Promise<void> {
    const { leadership } = this.#deps;
    while (!stopping.aborted) {
      this.#deps.heart.beat();
      try {
        if (await leadership.hold()) {
          await this.#lead(stopping);
          // Long enough for a follower to ask in between. One that was only frozen asks again at once.
          if (this.#gaveWay) await this.#sleep(2 * leadership.renewMs, stopping);
        } else {
          this.#recovered();
          await this.#sleep(leadership.renewMs, stopping);
        }
      } catch (error) {
        this.#failures += 1;
        this.#report('the audit stream cannot be used', error);
        await this.#pause(this.#failures, stopping);
      }
    }
  }

  /** Until the lead is lost or given away. */
  async #lead(stopping: AbortSignal): Promise<void> {
    const { partition, leadership } = this.#deps;
    await ensureGroup(partition);
    this.#gaveWay = false;
    this.#rewoundAt = null;
    this.#reader.begin();
    while (!stopping.aborted && (await leadership.hold())) {
      this.#deps.heart.beat();
      if (!(await this.#round(stopping))) return;
      this.#recovered();
    }
  }

  /** False: the batch was given up. */
  async #round(stopping: AbortSignal): Promise<boolean> {
    const { clock } = this.#deps;
    const { batchLength, gatherMs } = this.#options;
    const startedAt = clock.monotonic();
    const trust = await this.#trust();
    if (trust.incarnation !== this.#rewoundAt) {
      await rewindGroup(this.#deps.partition);
      this.#rewoundAt = trust.incarnation;
    }
    const { records, more } = await this.#reader.gather();
    for (const batch of batchesOf(records, batchLength)) {
      if (!(await this.#move(batch, trust, stopping))) return false;
    }
    if (records.length === 0) await this.#check(trust);
    if (records.length === 0 || more) return true;
    const rest = gatherMs - (clock.monotonic() - startedAt);
    if (rest > 0) await this.#sleep(rest, stopping);
    return true;
  }

  /** Stores and settles a batch. False: some of it was given up. */
  async #move(batch: readonly AuditRecord[], trust: Trust, stopping: AbortSignal): Promise<boolean> {
    const moves = lanesOf(batch).map(async (lane) => {
      const result = await this.#store(lane, trust, stopping);
      if (result !== null) await this.#settle(lane, result);
      return result !== null;
    });
    // Each to its end, so that nothing is in hand when reading begins again.
    const ends = await this.#deps.leadership.during(() => Promise.allSettled(moves));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
    return ends.every((end) => end.status === 'fulfilled' && end.value);
  }

  /** Read before the batch, so that a verification in between makes the batch stale, never the other way round. */
  async #trust(): Promise<Trust> {
    const trust = await readTrust(this.#deps.partition);
    if (trust !== null) return trust;
    throw new SignalboxError('state_untrusted', 'Run state is being verified; the audit stream waits.');
  }

  /** Null: given up, and pending. */
  async #store(
    batch: readonly AuditRecord[],
    trust: Trust,
    stopping: AbortSignal,
  ): Promise<WriteResult | null> {
    const { leadership, clock, logger } = this.#deps;
    const startedAt = clock.monotonic();
    for (let attempt = 1; leadership.isLeader(); attempt += 1) {
      this.#deps.heart.beat();
      try {
        const result = await this.#deps.store(batch, this.#originOf(trust));
        this.#count(result);
        return result;
      } catch (error) {
        await this.#withdrawIfOlder(error);
        if (isStale(error)) throw error;
        this.#report('a batch could not be stored', error, { records: batch.length, attempt });
      }
      if (stopping.aborted) return null;
      if (clock.monotonic() - startedAt >= this.#options.giveWayMs) {
        logger.warn('gives way: another replica may reach Postgres', { attempt });
        this.#gaveWay = true;
        await leadership.release();
        return null;
      }
      await this.#pause(attempt, stopping);
      // The last chance was before the pause: with Postgres away each attempt only costs time.
      if (stopping.aborted) return null;
    }
    return null;
  }

  #originOf({ incarnation, batches }: Trust): BatchOrigin {
    return { partition: this.#deps.partition.index, incarnation, batches };
  }

  async #withdrawIfOlder(error: unknown): Promise<void> {
    if (error instanceof RolledBackError) await withdrawTrust(this.#deps.partition);
  }

  /** Also while nothing is to be stored: what Postgres lost is gone for good once Redis has forgotten it. */
  async #check(trust: Trust): Promise<void> {
    const now = this.#deps.clock.monotonic();
    if (now < this.#checkAt) return;
    this.#checkAt = now + this.#options.sweepEveryMs;
    await this.#deps.check(this.#originOf(trust)).catch(async (error: unknown) => {
      await this.#withdrawIfOlder(error);
      if (!isStale(error)) this.#report('Postgres does not say what it has', error);
    });
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

  #recovered(): void {
    this.#trouble = null;
    this.#failures = 0;
  }

  #report(message: string, error: unknown, fields: Record<string, unknown> = {}): void {
    this.#trouble = error instanceof Error ? error : new Error(String(error));
    const passes = error instanceof SignalboxError && error.retryable;
    this.#deps.logger[passes ? 'warn' : 'error'](message, { ...fields, error });
  }

  #pause(attempt: number, stopping: AbortSignal): Promise<void> {
    return this.#sleep(backoffMs(attempt, { ...RETRY, random: this.#deps.random }), stopping);
  }

  #sleep(ms: number, stopping: AbortSignal): Promise<void> {
    return pause(this.#deps.clock, ms, stopping);
  }
}
