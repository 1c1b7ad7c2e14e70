import type { Entry, StoredRun } from '@signalbox/contracts';
import { z } from 'zod';
import { AbortFlag } from '../abort/abort.ts';
import { type Partition, runKey } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { readTogether } from '../redis/read-together.ts';
import { FlatMap, Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

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

/** `shown`: what a view of the run says of them, its submission and its last answer. */
export type WantedContents = 'none' | 'shown' | 'all';

/** What a reader of a run has of it already. */
export interface KnownRun {
  /** Of the last entry it has; 0: none. */
  readonly seq: number;
  /** Refs of what was submitted and of the last answer up to there. */
  readonly submission: string;
  readonly answer: string | null;
}

const NOTHING: KnownRun = { seq: 0, submission: '', answer: null };

const Replies = z.array(z.array(z.string().nullable()));

const readShownReplies = async (
  partition: Partition,
  runId: string,
  { seq, submission, answer }: KnownRun,
): Promise<(string | null)[][]> => {
  const known = [String(seq), submission, answer ?? ''];
  return Replies.parse(await runScript(partition, 'shown', [runId, ...known, ...RECORD_FIELDS]));
};

const readReplies = async (
  partition: Partition,
  runId: string,
  wanted: WantedContents,
): Promise<(string | null)[][]> => {
  if (wanted === 'shown') return readShownReplies(partition, runId, NOTHING);
  return readTogether(partition, [
    ['HMGET', runKey(partition, runId), ...RECORD_FIELDS],
    ['LRANGE', runKey(partition, runId, 'events'), 0, -1],
    ...(wanted === 'all' ? [['HGETALL', runKey(partition, runId, 'contents')] as const] : []),
  ]);
};

/**
 * A run while Redis has it, at one instant. Null when its journal is not here (it hibernates, or is unknown) or it is
 * another tenant's. Throws `state_unavailable`.
 */
export const readRun = (
  partition: Partition,
  { tenantId, runId }: Pick<HotRun, 'tenantId' | 'runId'>,
  wanted: WantedContents,
): Promise<HotRun | null> =>
  reachingState(async () => hotRun({ tenantId, runId }, await readReplies(partition, runId, wanted)));

/**
 * The same with the contents that a view shows and the entries from the last known one on, that one too. Null also
 * where so many entries are not here.
 */
export const readRunFrom = (
  partition: Partition,
  { tenantId, runId }: Pick<HotRun, 'tenantId' | 'runId'>,
  known: KnownRun,
): Promise<HotRun | null> =>
  reachingState(async () => hotRun({ tenantId, runId }, await readShownReplies(partition, runId, known)));

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

/** How many events a run has, also one that hibernates. Null: it is not known here, or another tenant's. */
export const readSeq = (
  partition: Partition,
  { tenantId, runId }: Pick<HotRun, 'tenantId' | 'runId'>,
): Promise<number | null> =>
  reachingState(async () => {
    const [tenant, seq] = await partition.redis.hmget(runKey(partition, runId), 'tenant', 'seq');
    return tenant === tenantId && typeof seq === 'string' ? Number(seq) : null;
  });
