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
  runKey,
} from '@signalbox/run-state';
import type { Harness } from './harness.ts';

export const storeAll = async (
  { deps: { partition, db } }: Harness,
  damage: (record: AuditRecord) => AuditRecord = (record) => record,
): Promise<void> => {
  await ensureGroup(partition);
  const stream = connect(await testRedisUrl(), 'stream', { onError: () => undefined });
  try {
    const records = await createAuditReader(partition, stream, 'test').read(1000, 10);
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
