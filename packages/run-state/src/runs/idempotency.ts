import { type IdempotencyMark, SignalboxError } from '@signalbox/contracts';
import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { assertTrusted } from '../trust/trust.ts';
import { writeTogether } from '../redis/write-together.ts';

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

const keyOf = ({ root }: Partition, tenantId: string, keyDigest: string): string =>
  `${root}:idem:${tenantId}:${keyDigest}`;

export const keyReused = (runId: string): SignalboxError =>
  new SignalboxError(
    'idempotency_mismatch',
    `This Idempotency-Key made ${runId} from another body. Use a new key for a new run.`,
  );

const lookUp = async (
  partition: Partition,
  tenantId: string,
  marks: readonly IdempotencyMark[],
): Promise<string | null> => {
  const keys = marks.map(({ key_digest }) => keyOf(partition, tenantId, key_digest));
  for (const [index, record] of (await partition.redis.mget(keys)).entries()) {
    const [fingerprint, runId] = (record ?? '').split(' ');
    if (runId === undefined) continue;
    if (fingerprint !== marks[index]?.fingerprint) throw keyReused(runId);
    return runId;
  }
  return null;
};

/**
 * The run that the same request made before; null when none did. Throws `idempotency_mismatch`, `state_untrusted`,
 * `state_unavailable`.
 */
export const findRepeated = (
  partition: Partition,
  tenantId: string,
  marks: readonly IdempotencyMark[],
): Promise<string | null> =>
  reachingState(async () => {
    const found = await lookUp(partition, tenantId, marks);
    if (found !== null) return found;
    // An emptied store knows of no request, which is not to say that there was none.
    await assertTrusted(partition);
    return lookUp(partition, tenantId, marks);
  });

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
      keyOf(partition, tenantId, key_digest),
      `${fingerprint} ${runId}`,
      'PXAT',
      createdMs + IDEMPOTENCY_TTL_MS,
      'NX',
    ]),
  );
