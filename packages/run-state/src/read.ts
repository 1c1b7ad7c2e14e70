import type { Entry, StoredRun } from '@signalbox/contracts';
import { SignalboxError } from '@signalbox/contracts';
import { AbortFlag } from './abort.ts';
import { type Partition, runKey } from './partition.ts';
import { readTogether } from './read-together.ts';
import { FlatMap, Texts } from './reply.ts';

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

const parseFlag = (text: string | null | undefined): AbortFlag | null =>
  typeof text === 'string' ? AbortFlag.parse(JSON.parse(text)) : null;

/**
 * A run while Redis has it: one consistent read. Null when its journal is not here (it hibernates, or is unknown) or
 * it is another tenant's.
 */
export const readRun = (partition: Partition, tenantId: string, runId: string): Promise<HotRun | null> =>
  guarded(runId, async () => {
    const [record = [], events, contents] = await readTogether(partition, [
      ['HMGET', runKey(partition, runId), 'tenant', 'key', 'abort', 'erased'],
      ['LRANGE', runKey(partition, runId, 'events'), 0, -1],
      ['HGETALL', runKey(partition, runId, 'contents')],
    ]);
    const [tenant, wrappedKey, abort, erased] = record;
    const entries = Texts.parse(events);
    if (tenant !== tenantId || entries.length === 0) return null;
    return {
      runId,
      tenantId,
      wrappedKey: wrappedKey ?? null,
      contentErasedAt: erased ?? null,
      entries,
      contents: FlatMap.parse(contents),
      abort: parseFlag(abort),
    };
  });

/** The abort that was asked for of a run whose journal may not be here. */
export const readAbort = (partition: Partition, runId: string): Promise<AbortFlag | null> =>
  guarded(runId, async () => parseFlag(await partition.redis.hget(runKey(partition, runId), 'abort')));

/** Entries behind `seq` (0: all). Null when Redis does not have them, or the run is another tenant's. */
export const readEntries = (
  partition: Partition,
  tenantId: string,
  cursor: { runId: string; after: number; limit: number },
): Promise<Entry[] | null> =>
  guarded(cursor.runId, async () => {
    const [[tenant, asleep, seq] = [], entries] = await readTogether(partition, [
      ['HMGET', runKey(partition, cursor.runId), 'tenant', 'asleep', 'seq'],
      ['LRANGE', runKey(partition, cursor.runId, 'events'), cursor.after, cursor.after + cursor.limit - 1],
    ]);
    if (tenant !== tenantId) return null;
    // Of one that hibernates only this is known here: whether there is more.
    if (typeof asleep === 'string') return cursor.after >= Number(seq) ? [] : null;
    return Texts.parse(entries);
  });
