import type { ContentChoice, Entry, StoredRun } from '@signalbox/contracts';
import { AbortFlag } from './abort.ts';
import { type Partition, runKey } from './partition.ts';
import { reachingState } from './reaching.ts';
import { readTogether } from './read-together.ts';
import { FlatMap, Texts } from './reply.ts';

export interface HotRun extends StoredRun {
  readonly abort: AbortFlag | null;
}

const parseFlag = (text: string | null | undefined): AbortFlag | null =>
  typeof text === 'string' ? AbortFlag.parse(JSON.parse(text)) : null;

const RECORD_FIELDS = ['tenant', 'key', 'abort', 'erased'] as const;

/** Null when its journal is not here (it hibernates, or is unknown) or it is another tenant's. */
const hotRun = (
  ids: Pick<HotRun, 'runId' | 'tenantId'>,
  [record = [], events, contents = []]: (string | null)[][],
): HotRun | null => {
  const [tenant, wrappedKey, abort, erased] = record;
  const entries = Texts.parse(events);
  if (tenant !== ids.tenantId || entries.length === 0) return null;
  return {
    ...ids,
    wrappedKey: wrappedKey ?? null,
    contentErasedAt: erased ?? null,
    entries,
    contents: FlatMap.parse(contents),
    abort: parseFlag(abort),
  };
};

const readWhole = async (partition: Partition, tenantId: string, runId: string): Promise<HotRun | null> =>
  hotRun(
    { runId, tenantId },
    await readTogether(partition, [
      ['HMGET', runKey(partition, runId), ...RECORD_FIELDS],
      ['LRANGE', runKey(partition, runId, 'events'), 0, -1],
      ['HGETALL', runKey(partition, runId, 'contents')],
    ]),
  );

/** The journal first, then what it names: of a long run nearly all that is stored is contents. */
const readChosen = async (
  partition: Partition,
  { tenantId, runId }: Pick<HotRun, 'runId' | 'tenantId'>,
  choose: ContentChoice,
): Promise<HotRun | null> => {
  const run = hotRun(
    { runId, tenantId },
    await readTogether(partition, [
      ['HMGET', runKey(partition, runId), ...RECORD_FIELDS],
      ['LRANGE', runKey(partition, runId, 'events'), 0, -1],
    ]),
  );
  const refs = run === null || run.wrappedKey === null ? [] : choose(run.entries);
  if (run === null || refs.length === 0) return run;
  const sealed = await partition.redis.hmget(runKey(partition, runId, 'contents'), ...refs);
  const contents = new Map(refs.flatMap((ref, i) => (sealed[i] ? [[ref, sealed[i]] as const] : [])));
  // It left, or was erased, between the two looks: one look at all of it says which.
  return contents.size < new Set(refs).size ? readWhole(partition, tenantId, runId) : { ...run, contents };
};

/**
 * A run while Redis has it, at one instant. `choose` says which contents come along (default: all). Null when its
 * journal is not here (it hibernates, or is unknown) or it is another tenant's. Throws `state_unavailable`.
 */
export const readRun = (
  partition: Partition,
  tenantId: string,
  runId: string,
  choose?: ContentChoice,
): Promise<HotRun | null> =>
  reachingState(() =>
    choose === undefined
      ? readWhole(partition, tenantId, runId)
      : readChosen(partition, { tenantId, runId }, choose),
  );

/** The abort that was asked for of a run whose journal may not be here. */
export const readAbort = (partition: Partition, runId: string): Promise<AbortFlag | null> =>
  reachingState(async () => parseFlag(await partition.redis.hget(runKey(partition, runId), 'abort')));

/** Entries behind `seq` (0: all). Null when Redis does not have them, or the run is another tenant's. */
export const readEntries = (
  partition: Partition,
  tenantId: string,
  cursor: { runId: string; after: number; limit: number },
): Promise<Entry[] | null> =>
  reachingState(async () => {
    const [[tenant, asleep, seq] = [], entries] = await readTogether(partition, [
      ['HMGET', runKey(partition, cursor.runId), 'tenant', 'asleep', 'seq'],
      ['LRANGE', runKey(partition, cursor.runId, 'events'), cursor.after, cursor.after + cursor.limit - 1],
    ]);
    if (tenant !== tenantId) return null;
    // Of one that hibernates only this is known here: whether there is more.
    if (typeof asleep === 'string') return cursor.after >= Number(seq) ? [] : null;
    return Texts.parse(entries);
  });
