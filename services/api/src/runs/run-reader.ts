import {
  type Db,
  listRunIds,
  type Page,
  readEntries as readStoredEntries,
  readRun as readStored,
  readRunsWithin,
  type RunListQuery,
} from '@signalbox/audit-store';
import { type ContentChoice, type Entry, SignalboxError, type StoredRun } from '@signalbox/contracts';
import { bodyOf } from '@signalbox/engine';
import {
  type AbortFlag,
  assertTrusted,
  type Partition,
  readAbort,
  readEntries,
  readRun,
  type WantedContents,
} from '@signalbox/run-state';
import { peek, refsOf } from './entries.ts';
import { coalesceReads } from './coalesce-reads.ts';
import { assertNoneOnTheWay } from './gap.ts';

/**
 * Runs from where they are: Redis while they are hot, else Postgres (Read). Caches nothing.
 * A run leaves Redis, or hibernates there, only when Postgres has all of it, so what the one does not know the other
 * has whole. An abort that was asked for of one that hibernates is known to Redis alone.
 */

export interface ReadableRun extends StoredRun {
  /** An abort that was asked for; the journal may not say so yet. */
  readonly abort: AbortFlag | null;
}

export interface EntryQuery {
  readonly runId: string;
  /** Entries behind this seq. */
  readonly after: number;
  readonly limit: number;
}

export interface ListedRun {
  readonly runId: string;
  /** Null: its events left with their partition. */
  readonly stored: StoredRun | null;
}

/** Of sealed contents in a page: what one answer may take of this process, whoever else waits. */
const MAX_PAGE_BYTES = 8 * 1024 * 1024;

export interface RunReader {
  /**
   * With the contents a view shows, unless others are wanted. Throws `not_found` (also for another tenant's run),
   * `state_unavailable`, `state_untrusted`, `audit_store_unavailable`, `audit_behind`.
   */
  find(tenantId: string, runId: string, wanted?: WantedContents): Promise<ReadableRun>;
  /** Those who ask in one turn get one and the same page. Throws like `find`. */
  entries(tenantId: string, query: EntryQuery): Promise<readonly Entry[]>;
  /** Newest first, with the contents a list shows; fewer where those are large. Throws `audit_store_unavailable`. */
  list(query: RunListQuery): Promise<Page<ListedRun, string>>;
}

const notFound = (runId: string): SignalboxError =>
  new SignalboxError('not_found', `There is no run ${runId}.`);

/** A stub of a quarantined event has no body and nothing to show. */
const whole = (entries: readonly Entry[]): Entry[] => entries.filter((entry) => bodyOf(entry) !== '');

/** What shown.lua sends of a hot run. */
const shown = (entries: readonly Entry[]): string[] => {
  const submission = refsOf(entries[0])['submission'];
  const answer = entries.findLast((entry) => peek(entry).type === 'llm.completed');
  return [submission, refsOf(answer)['output']].filter((ref) => ref !== undefined);
};

const CHOICES: Readonly<Record<WantedContents, ContentChoice | undefined>> = {
  none: () => [],
  shown,
  all: undefined,
};

/**
 * What is neither here nor there is not there: unless Redis lost it a moment ago and Postgres is about to have it.
 * Once Redis is known to be whole, a second look decides.
 */
const readOrMiss = async <T>(
  partition: Partition,
  runId: string,
  read: () => Promise<T | null>,
): Promise<T> => {
  const first = await read();
  if (first !== null) return first;
  await assertTrusted(partition);
  const second = await read();
  if (second === null) throw notFound(runId);
  return second;
};

interface Stores {
  readonly partition: Partition;
  readonly db: Db;
}

const readPage = (
  { partition, db }: Stores,
  tenantId: string,
  query: EntryQuery,
): Promise<readonly Entry[]> =>
  readOrMiss(partition, query.runId, async () => {
    const hot = await readEntries(partition, tenantId, query);
    return hot ?? readStoredEntries(db, tenantId, query);
  });

const pageName = (tenantId: string, { runId, after, limit }: EntryQuery): string =>
  `${tenantId} ${runId} ${after} ${limit}`;

const createPageReader = (stores: Stores): RunReader['entries'] => {
  const shared = coalesceReads<readonly Entry[]>();
  return (tenantId, query) => shared(pageName(tenantId, query), () => readPage(stores, tenantId, query));
};

export const createRunReader = ({ partition, db }: Stores): RunReader => ({
  find: (tenantId, runId, wanted = 'shown') =>
    readOrMiss(partition, runId, async () => {
      const hot = await readRun(partition, { tenantId, runId }, wanted);
      if (hot !== null) return hot;
      const cold = await readStored(db, tenantId, runId, CHOICES[wanted]);
      if (cold === null) return null;
      await assertNoneOnTheWay({ partition, db }, cold);
      return { ...cold, entries: whole(cold.entries), abort: await readAbort(partition, runId) };
    }),
  entries: createPageReader({ partition, db }),
  list: async (query) => {
    const { rows: runIds, next } = await listRunIds(db, query);
    const wanted = { tenantId: query.tenantId, runIds, choose: shown, maxBytes: MAX_PAGE_BYTES };
    const { runs, looked } = await readRunsWithin(db, wanted);
    const stored = new Map(runs.map((run) => [run.runId, { ...run, entries: whole(run.entries) }]));
    const within = runIds.slice(0, looked);
    return {
      rows: within.map((runId) => ({ runId, stored: stored.get(runId) ?? null })),
      next: looked < runIds.length ? (within.at(-1) ?? null) : next,
    };
  },
});
