/** What the audit-writer does, once: everything in the stream goes to Postgres. */
import { writeBatch } from '@signalbox/audit-store';
import type { AuditRecord } from '@signalbox/contracts';
import { testRedisUrl } from '@signalbox/local';
import {
  acknowledge,
  connect,
  createAuditReader,
  disconnect,
  ensureGroup,
  rewindGroup,
  runKey,
} from '@signalbox/run-state';
import type { Harness } from './harness.ts';

export const storeAll = (
  h: Harness,
  damage: (record: AuditRecord) => AuditRecord = (record) => record,
): Promise<void> => store(h, { damage, isIn: () => true });

/** The others stay in the stream. */
export const storeThose = (h: Harness, isIn: (record: AuditRecord) => boolean): Promise<void> =>
  store(h, { damage: (record) => record, isIn });

const store = async (
  { deps: { partition, db } }: Harness,
  {
    damage,
    isIn,
  }: {
    readonly damage: (record: AuditRecord) => AuditRecord;
    readonly isIn: (record: AuditRecord) => boolean;
  },
): Promise<void> => {
  await ensureGroup(partition);
  await rewindGroup(partition);
  const stream = connect(await testRedisUrl(), 'stream', { onError: () => undefined });
  try {
    const all = await createAuditReader(partition, stream, 'test').read(1000, 10);
    const records = all.filter(isIn);
    await writeBatch(db, records.map(damage));
    await acknowledge(
      partition,
      records.map(({ streamId }) => streamId),
    );
  } finally {
    await disconnect(stream);
  }
};

/** What Redis does some time after a run ended and is stored: forgets it. */
export const coolDown = async ({ deps: { partition } }: Harness, runId: string): Promise<void> => {
  await partition.redis.del(
    runKey(partition, runId),
    ...(['events', 'contents', 'inbox', 'holds'] as const).map((part) => runKey(partition, runId, part)),
  );
};
