import type { IdempotencyMark } from '@signalbox/contracts';
import type { Partition } from './partition.ts';
import { writeTogether } from './write-together.ts';

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
 * after another flush as before it. Throws `state_unavailable`.
 */
export const restoreIdempotency = (
  partition: Partition,
  records: readonly IdempotencyRecord[],
): Promise<void> =>
  writeTogether(
    partition,
    records.map(({ tenantId, key_digest, fingerprint, runId, createdMs }) => [
      'SET',
      `${partition.root}:idem:${tenantId}:${key_digest}`,
      `${fingerprint} ${runId}`,
      'PXAT',
      createdMs + IDEMPOTENCY_TTL_MS,
      'NX',
    ]),
  );
