import {
  type Db,
  listRunIds,
  readRun as readStored,
  readRuns as readStoredRuns,
  type RunListQuery,
} from '@signalbox/audit-store';
import { type Entry, SignalboxError, type StoredRun } from '@signalbox/contracts';
import { bodyOf } from '@signalbox/engine';
import { type AbortFlag, type Partition, readEntries, readRun } from '@signalbox/run-state';
import { lastTypeOf, refsOf } from './entries.ts';

/**
 * Runs from where they are: Redis while they are hot, else Postgres (design §5, Read). Caches nothing.
 * A run leaves Redis only when it has ended and Postgres has all of it, so what the one does not know the
 * other has whole.
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

export interface RunReader {
  /** Throws `not_found` (also for another tenant's run), `state_unavailable`, `audit_store_unavailable`. */
  find(tenantId: string, runId: string): Promise<ReadableRun>;
  /** Throws like `find`. */
  entries(tenantId: string, query: EntryQuery): Promise<readonly Entry[]>;
  /** Newest first, with the contents a list shows. Throws `audit_store_unavailable`. */
  list(query: RunListQuery): Promise<readonly StoredRun[]>;
}

const notFound = (runId: string): SignalboxError =>
  new SignalboxError('not_found', `There is no run ${runId}.`);

/** A stub of a quarantined event has no body and nothing to show. */
const whole = (entries: readonly Entry[]): Entry[] => entries.filter((entry) => bodyOf(entry) !== '');

/** Of a list only inputs and outputs are shown. */
const shownInList = (entries: readonly Entry[]): string[] => {
  const submission = refsOf(entries[0])['submission'];
  const answer = entries.findLast((entry) => lastTypeOf([entry]) === 'llm.completed');
  return [submission, refsOf(answer)['output']].filter((ref) => ref !== undefined);
};

export const createRunReader = ({ partition, db }: { partition: Partition; db: Db }): RunReader => ({
  find: async (tenantId, runId) => {
    const hot = await readRun(partition, tenantId, runId);
    if (hot !== null) return hot;
    const cold = await readStored(db, tenantId, runId);
    if (cold === null) throw notFound(runId);
    return { ...cold, entries: whole(cold.entries), abort: null };
  },
  entries: async (tenantId, query) => {
    const hot = await readEntries(partition, tenantId, query);
    if (hot !== null) return hot;
    const cold = await readStored(db, tenantId, query.runId);
    if (cold === null) throw notFound(query.runId);
    return whole(cold.entries.slice(query.after, query.after + query.limit));
  },
  list: async (query) => {
    const runIds = await listRunIds(db, query);
    const runs = await readStoredRuns(db, query.tenantId, runIds, shownInList);
    return runs.map((run) => ({ ...run, entries: whole(run.entries) }));
  },
});
