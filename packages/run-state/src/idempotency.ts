import type { IdempotencyMark } from '@signalbox/contracts';
import type { Partition } from './partition.ts';

/**
 * Which request made which run. submit.lua writes a record beside the run and compares with it; it expires after a
 * day. The mark is also in the run's first event, so that a verification can put records back.
 */
export const IDEMPOTENCY_TTL_MS = 24 * 3600 * 1000;

export interface IdempotencyRecord extends IdempotencyMark {
  readonly tenantId: string;
  readonly runId: string;
  readonly createdMs: number;
}

/**
 * Writes records that are not here, for the rest of their time. Needs no verification of its own: a record is as true
 * after another flush as before it.
 */
export const restoreIdempotency = async (
  { redis, root }: Partition,
  records: readonly IdempotencyRecord[],
): Promise<void> => {
  const pipeline = redis.pipeline();
  for (const { tenantId, key_digest, fingerprint, runId, createdMs } of records) {
    const until = createdMs + IDEMPOTENCY_TTL_MS;
    pipeline.set(`${root}:idem:${tenantId}:${key_digest}`, `${fingerprint} ${runId}`, 'PXAT', until, 'NX');
  }
  for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
};
