import { type Entry, type Event, type RunFilter, type RunStatus, SignalboxError } from '@signalbox/contracts';
import { readEntry } from '@signalbox/engine';
import { type LiveIndex, liveIds } from './live-ids.ts';
import { type Partition, runKey } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { readTrust } from '../trust/trust.ts';

/**
 * The runs of a tenant that have not ended, found without Postgres: every one of them is in Redis, in exactly
 * one of the indexes by state (lib/base.lua). The indexes are those of all tenants of the partition: what others have
 * there is read too, a page at a time (live-ids.ts).
 */

export const LIVE_STATUSES = ['queued', 'running', 'waiting'] as const satisfies readonly RunStatus[];
export type LiveStatus = (typeof LIVE_STATUSES)[number];

export type LiveRunFilter = RunFilter & { readonly status?: LiveStatus | undefined };

export interface LiveRuns {
  /** Oldest first. Of more than `limit` those at work, then queued, then waiting, those that were woken last. */
  readonly runIds: readonly string[];
  /** There are more than `limit`. */
  readonly more: boolean;
}

/**
 * Each run that has not ended is in exactly one of these. In this order: what is at work is to stop first, and a
 * sleeper that was asked to stop lies in `loading` until it can end, behind those that were not.
 */
const INDEXES: Record<LiveStatus, readonly LiveIndex[]> = {
  running: ['running'],
  queued: ['queued:0', 'queued:1', 'queued:2'],
  waiting: ['parked', 'asleep', 'loading'],
};
export const LIVE_INDEXES: readonly LiveIndex[] = Object.values(INDEXES).flat();

type Replies = [Error | null, unknown][] | null;

/** Null where a key is of another type than it should be: what one run is must not keep others from being found. */
const values = (replies: Replies): unknown[] =>
  (replies ?? []).map(([error, value]) => {
    if (error === null) return value;
    if (error.message.startsWith('WRONGTYPE')) return null;
    throw error;
  });

const FIELDS = ['tenant', 'status', 'agent', 'user'] as const;

/** The runs among these whose record fits. */
const fittingRecords = async (
  partition: Partition,
  tenantId: string,
  { filter, runIds }: { filter: LiveRunFilter; runIds: readonly string[] },
): Promise<string[]> => {
  const pipeline = partition.redis.pipeline();
  for (const runId of runIds) pipeline.hmget(runKey(partition, runId), ...FIELDS);
  const records = values(await pipeline.exec()) as ((string | null)[] | null)[];
  return runIds.filter((_, i) => {
    const [tenant, status, agent, user] = records[i] ?? [];
    if (tenant !== tenantId || !LIVE_STATUSES.some((live) => live === status)) return false;
    if (filter.status !== undefined && filter.status !== status) return false;
    if (filter.agent !== undefined && filter.agent !== agent) return false;
    return filter.user_id === undefined || filter.user_id === user;
  });
};

interface Submitted {
  readonly sessionId: string | null;
  readonly createdAt: string;
}

/** Null where it is damaged: what it says is not known. */
const eventOf = (entry: Entry): Event | null => {
  try {
    return readEntry(entry);
  } catch {
    return null;
  }
};

/** Of its first event; a run that hibernates has it in its record (lib/sleep.lua). */
const submittedOf = (entry: Entry | null, [created, session]: (string | null)[]): Submitted | null => {
  if (typeof created === 'string') return { createdAt: created, sessionId: session ?? null };
  const event = entry === null ? null : eventOf(entry);
  return event?.type === 'run.submitted' ? { createdAt: event.ts, sessionId: event.data.session_id } : null;
};

const fitsFirst = (submitted: Submitted | null, filter: LiveRunFilter): boolean => {
  if (submitted === null) return false;
  if (filter.session_id !== undefined && filter.session_id !== submitted.sessionId) return false;
  const at = Date.parse(submitted.createdAt);
  if (filter.created_after !== undefined && at < Date.parse(filter.created_after)) return false;
  return filter.created_before === undefined || at < Date.parse(filter.created_before);
};

/** The runs among these whose first event fits; read only if the filter asks for what it says. */
const fittingEvents = async (
  partition: Partition,
  filter: LiveRunFilter,
  runIds: readonly string[],
): Promise<readonly string[]> => {
  const { session_id, created_after, created_before } = filter;
  if ((session_id ?? created_after ?? created_before) === undefined) return runIds;
  const pipeline = partition.redis.pipeline();
  for (const runId of runIds) {
    pipeline.lindex(runKey(partition, runId, 'events'), 0);
    pipeline.hmget(runKey(partition, runId), 'created', 'session');
  }
  const found = values(await pipeline.exec());
  return runIds.filter((_, i) => {
    const entry = found[2 * i] as Entry | null;
    return fitsFirst(submittedOf(entry, (found[2 * i + 1] ?? []) as (string | null)[]), filter);
  });
};

const find = async (
  partition: Partition,
  tenantId: string,
  { filter, limit }: { filter: LiveRunFilter; limit: number },
): Promise<LiveRuns> => {
  const found = new Set<string>();
  for await (const runIds of liveIds(partition, filter.status ? INDEXES[filter.status] : LIVE_INDEXES)) {
    const fitting = await fittingRecords(partition, tenantId, { filter, runIds });
    for (const runId of await fittingEvents(partition, filter, fitting)) found.add(runId);
    if (found.size > limit) break;
  }
  // Ids are uuidv7, so their order is that of their submission.
  return { runIds: [...found].slice(0, limit).toSorted(), more: found.size > limit };
};

/**
 * The tenant's runs that have not ended and fit, at most `limit`. Throws `state_unavailable`, and
 * `state_untrusted` while Redis may not know all runs.
 */
export const findLiveRuns = async (
  partition: Partition,
  tenantId: string,
  query: { filter: LiveRunFilter; limit: number },
): Promise<LiveRuns> => {
  const found = await reachingState(async () => {
    const before = await readTrust(partition);
    if (before === null) return null;
    const runs = await find(partition, tenantId, query);
    // What was lost and put back meanwhile may have been where it was not looked for.
    return (await readTrust(partition))?.incarnation === before.incarnation ? runs : null;
  });
  if (found !== null) return found;
  throw new SignalboxError(
    'state_untrusted',
    'Run state is being verified after a restart, so not all runs may be known. Try again in a moment.',
    { retryAfter: 1 },
  );
};
