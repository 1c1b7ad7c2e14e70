/**
 * Moves commits from the audit stream to Postgres. Owns the batch in hand and nothing else: whatever
 * happens to this process, the entries of that batch are pending in the stream, and storing them again
 * changes nothing. So any number of replicas may run, and a crash at any point is safe.
 *
 * States: sweeping -> reading -> storing -> settling -> reading ... -> stopped.
 * sweeping: own pending entries (a reply got lost, a settlement failed), then what other consumers left
 *           for longer than a batch takes. At the start, after every failure, when idle, and every 10 s.
 * storing:  the batch in one transaction (several when it is too large for one), again and again until
 *           Postgres takes it. Nothing more is read meanwhile, nothing is dropped (R9). Only stopping
 *           gives it up, and then it stays pending.
 * settling: after the commit (R8), first markStored, then acknowledge. Both are idempotent. A process
 *           that dies between them is followed by a redelivery that does both again; the other way
 *           round nobody would ever mark those runs, and their keys would stay in Redis for ever.
 * Every batch names the incarnation of run state it was read under; one that a verification overtook is dropped
 * here and read again (design §6, Trust).
 * A failure of Redis leads back to sweeping, through ensureGroup: a flushed Redis has no group either.
 */
import { type AuditRecord, SignalboxError } from '@signalbox/contracts';
import type { WriteResult } from '@signalbox/audit-store';
import {
  acknowledge,
  type AuditReader,
  ensureGroup,
  markStored,
  type Partition,
  readTrust,
} from '@signalbox/run-state';
import { backoffMs, type Clock, type Logger } from '@signalbox/runtime';
import { batchesOf } from './batch.ts';
import type { DrainMetrics } from './metrics.ts';

export interface DrainDeps {
  readonly partition: Partition;
  readonly reader: AuditReader;
  /** Returns when the batch is committed. Throws `state_untrusted` when it was read before a verification. */
  readonly store: (records: readonly AuditRecord[], incarnation: number) => Promise<WriteResult>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: DrainMetrics;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface DrainOptions {
  /** How long Redis keeps a run that has ended and is stored whole. */
  readonly keepSeconds: number;
  /** Most stream entries read at once. */
  readonly batchSize?: number;
  /** Most characters in one transaction. */
  readonly batchLength?: number;
  /** Smaller batches start at least this far apart, ms, so that they grow under load. */
  readonly gatherMs?: number;
  readonly blockMs?: number;
  readonly sweepEveryMs?: number;
  /** Idle time after which an entry of another consumer counts as left behind; longer than a batch takes. */
  readonly reclaimIdleMs?: number;
}

const SECOND = 1000;
const DEFAULTS = {
  batchSize: 1000,
  batchLength: 32 * 1024 * 1024,
  gatherMs: 100,
  blockMs: SECOND,
  sweepEveryMs: 10 * SECOND,
  reclaimIdleMs: 60 * SECOND,
};
const RETRY = { baseMs: 200, capMs: 5 * SECOND };

/** Run state was verified after the batch was read: what of it still counts lies in the stream. */
const isStale = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'state_untrusted';

export class Drain {
  readonly #deps: DrainDeps;
  readonly #options: Required<DrainOptions>;
  #sweepAt = Number.NEGATIVE_INFINITY;
  #trouble: Error | null = null;

  constructor(deps: DrainDeps, options: DrainOptions) {
    this.#deps = deps;
    this.#options = { ...DEFAULTS, ...options };
  }

  /** Throws what keeps it from working now: the readiness check of this process. */
  assertWorking(): void {
    if (this.#trouble !== null) throw this.#trouble;
  }

  /** Ends soon after `stopping`, with no batch in hand. Never rejects. */
  async run(stopping: AbortSignal): Promise<void> {
    let failures = 0;
    while (!stopping.aborted) {
      try {
        await ensureGroup(this.#deps.partition);
        this.#sweepAt = Number.NEGATIVE_INFINITY;
        while (!stopping.aborted) {
          await this.#round(stopping);
          this.#trouble = null;
          failures = 0;
        }
      } catch (error) {
        failures += 1;
        this.#report('the audit stream cannot be used', error);
        await this.#pause(failures, stopping);
      }
    }
  }

  async #round(stopping: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const { batchSize, batchLength, gatherMs } = this.#options;
    const startedAt = clock.monotonic();
    const incarnation = await this.#incarnation();
    const records = await this.#take();
    for (const batch of batchesOf(records, batchLength)) {
      const result = await this.#store(batch, incarnation, stopping);
      if (result === null) return;
      await this.#settle(batch, result);
    }
    if (records.length === 0 || records.length >= batchSize) return;
    const rest = gatherMs - (clock.monotonic() - startedAt);
    if (rest > 0) await clock.sleep(rest, stopping).catch(() => undefined);
  }

  /** Read before the batch, so that a verification in between makes the batch stale, never the other way round. */
  async #incarnation(): Promise<number> {
    const trust = await readTrust(this.#deps.partition);
    if (trust !== null) return trust.incarnation;
    throw new SignalboxError('state_untrusted', 'Run state is being verified; the audit stream waits.');
  }

  async #take(): Promise<AuditRecord[]> {
    const { reader, clock } = this.#deps;
    const { batchSize, blockMs, sweepEveryMs, reclaimIdleMs } = this.#options;
    if (clock.monotonic() >= this.#sweepAt) {
      const own = await reader.pending(batchSize);
      if (own.length > 0) return own;
      const left = await reader.reclaim(batchSize, reclaimIdleMs);
      if (left.length > 0) return left;
      this.#sweepAt = clock.monotonic() + sweepEveryMs;
    }
    const fresh = await reader.read(batchSize, blockMs);
    // Nothing came, or it came and the reply was lost on the way.
    if (fresh.length === 0) this.#sweepAt = Number.NEGATIVE_INFINITY;
    return fresh;
  }

  /** Null: given up because the process stops. */
  async #store(
    batch: readonly AuditRecord[],
    incarnation: number,
    stopping: AbortSignal,
  ): Promise<WriteResult | null> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const result = await this.#deps.store(batch, incarnation);
        this.#count(result);
        this.#trouble = null;
        return result;
      } catch (error) {
        if (isStale(error)) throw error;
        this.#report('a batch could not be stored', error, { records: batch.length, attempt });
      }
      if (stopping.aborted) return null;
      await this.#pause(attempt, stopping);
      // The last chance was before the pause: with Postgres away each attempt only costs time.
      if (stopping.aborted) return null;
    }
  }

  async #settle(batch: readonly AuditRecord[], { heads }: WriteResult): Promise<void> {
    const { partition } = this.#deps;
    const stored = Array.from(heads, ([runId, { seq }]) => ({ runId, seq }));
    await markStored(partition, stored, this.#options.keepSeconds);
    await acknowledge(
      partition,
      batch.map(({ streamId }) => streamId),
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

  #report(message: string, error: unknown, fields: Record<string, unknown> = {}): void {
    this.#trouble = error instanceof Error ? error : new Error(String(error));
    const passes = error instanceof SignalboxError && error.retryable;
    this.#deps.logger[passes ? 'warn' : 'error'](message, { ...fields, error });
  }

  async #pause(attempt: number, stopping: AbortSignal): Promise<void> {
    const { clock, random } = this.#deps;
    await clock.sleep(backoffMs(attempt, { ...RETRY, random }), stopping).catch(() => undefined);
  }
}
