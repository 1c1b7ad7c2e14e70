import type { Entry, StoredRun } from '@signalbox/contracts';
import { SignalboxError } from '@signalbox/contracts';
import { AbortFlag } from './abort.ts';
import { type Partition, runKey } from './partition.ts';

export interface HotRun extends StoredRun {
  readonly abort: AbortFlag | null;
}

const guarded = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw new SignalboxError(
      'state_unavailable',
      `Run state could not be read (${what}). Try again in a moment.`,
      { cause: error, retryAfter: 1 },
    );
  }
};

type Reply = [Error | null, unknown][] | null;

const results = (reply: Reply): unknown[] =>
  (reply ?? []).map(([error, value]) => {
    if (error !== null) throw error;
    return value;
  });

/** A run while Redis has it: one consistent read. Null when it is unknown here or another tenant's. */
export const readRun = (partition: Partition, tenantId: string, runId: string): Promise<HotRun | null> =>
  guarded(runId, async () => {
    const [record, entries, contents] = results(
      await partition.redis
        .multi()
        .hmget(runKey(partition, runId), 'tenant', 'key', 'abort')
        .lrange(runKey(partition, runId, 'events'), 0, -1)
        .hgetall(runKey(partition, runId, 'contents'))
        .exec(),
    ) as [(string | null)[], Entry[], Record<string, string>];
    const [tenant, wrappedKey, abort] = record;
    if (tenant !== tenantId || entries.length === 0) return null;
    return {
      runId,
      tenantId,
      wrappedKey: wrappedKey ?? null,
      entries,
      contents: new Map(Object.entries(contents)),
      abort: typeof abort === 'string' ? AbortFlag.parse(JSON.parse(abort)) : null,
    };
  });

/** Entries behind `seq` (0: all). Null when Redis does not have the run or it is another tenant's. */
export const readEntries = (
  partition: Partition,
  tenantId: string,
  cursor: { runId: string; after: number; limit: number },
): Promise<Entry[] | null> =>
  guarded(cursor.runId, async () => {
    const [tenant, entries] = results(
      await partition.redis
        .multi()
        .hget(runKey(partition, cursor.runId), 'tenant')
        .lrange(runKey(partition, cursor.runId, 'events'), cursor.after, cursor.after + cursor.limit - 1)
        .exec(),
    ) as [string | null, Entry[]];
    return tenant === tenantId ? entries : null;
  });
