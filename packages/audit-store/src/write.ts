/**
 * Moves commits from the audit stream into Postgres (design §5, Audit). The only writer of run data.
 *
 * One batch is one transaction; when it has returned, the caller may acknowledge (R8). Everything is
 * idempotent: projections count only the events that this transaction stored for the first time, so
 * a redelivery, in whatever order or grouping, changes nothing. Nothing is dropped (R9): what cannot
 * be stored as an event lies in audit_quarantine, with a stub in its place where the place is known.
 */
import type { AuditRecord } from '@signalbox/contracts';
import { type BatchOrigin, joinIncarnation } from './incarnation.ts';
import type { Db } from './pool.ts';
import { isDataError, sqlState, storeError } from './store-errors.ts';
import { insertContents } from './write/contents.ts';
import { applyCosts } from './write/costs.ts';
import { insertEvents } from './write/events.ts';
import { type BadEntry, type GoodEntry, judge } from './write/judge.ts';
import {
  bareStub,
  entryItem,
  fullStub,
  insertQuarantine,
  insertStubs,
  type Quarantined,
  recordItem,
} from './write/quarantine.ts';
import { runChanges } from './write/run-changes.ts';
import { applyRunChanges, lockRuns, type StoredHead } from './write/runs.ts';

export interface WriteResult {
  /** Events stored now. */
  readonly inserted: number;
  /** Events that were stored already. */
  readonly duplicates: number;
  /** What this batch holds for the quarantine; a redelivery reports it again. */
  readonly quarantined: readonly Quarantined[];
  /** By run id of the batch: up to where it is stored without a gap. */
  readonly heads: ReadonlyMap<string, StoredHead>;
}

const forkOf = ({ record, entry, event }: GoodEntry): BadEntry => ({
  record,
  entry,
  reason: 'fork',
  detail: `another event with another hash is stored at seq ${event.seq}`,
  seq: event.seq,
});

const writeAll = async (tx: Db, records: readonly AuditRecord[]): Promise<WriteResult> => {
  const known = await lockRuns(tx, records);
  const { good, bad } = judge(records);
  const { fresh, duplicates, forks } = await insertEvents(tx, good);
  await insertContents(tx, [...new Set(fresh.map(({ record }) => record))]);
  const quarantined = await insertQuarantine(tx, [...bad, ...forks.map(forkOf)].map(entryItem));
  const stubs = bad.flatMap((entry) => bareStub(entry) ?? []);
  const stubbed = await insertStubs(tx, stubs);
  const observed = await applyCosts(tx, fresh);
  const changes = runChanges(
    fresh.map(({ event }) => event),
    stubbed === 0 ? [] : stubs.map((stub) => stub.run_id),
  );
  const moved = await applyRunChanges(tx, changes, observed);
  return { inserted: fresh.length, duplicates, quarantined, heads: new Map([...known, ...moved]) };
};

/** One transaction of a batch; `origin` null: a batch that no verification can overtake, as in tests. */
const inBatch = <T>(db: Db, origin: BatchOrigin | null, work: (tx: Db) => Promise<T>): Promise<T> =>
  db.transaction().execute(async (tx) => {
    if (origin !== null) await joinIncarnation(tx, origin);
    return work(tx);
  });

/** How much of a refused record is tried to keep beside its raw form, most first. */
const KEEP = ['events and contents', 'events', 'nothing'] as const;

const setAside = async (
  tx: Db,
  record: AuditRecord,
  detail: string,
  keep: (typeof KEEP)[number],
): Promise<WriteResult> => {
  const item = recordItem(record, detail);
  const quarantined = await insertQuarantine(tx, [item]);
  if (keep === 'nothing') return { inserted: 0, duplicates: 0, quarantined, heads: new Map() };
  const known = await lockRuns(tx, [record]);
  const { good, bad } = judge([record]);
  const stubbed = await insertStubs(tx, [
    ...good.map((entry) => fullStub(entry, item.id)),
    ...bad.flatMap((entry) => bareStub(entry) ?? []),
  ]);
  if (stubbed > 0 && keep === 'events and contents') await insertContents(tx, [record]);
  const touched = stubbed === 0 ? [] : [record.runId];
  const moved = await applyRunChanges(tx, runChanges([], touched), new Map());
  return { inserted: 0, duplicates: 0, quarantined, heads: new Map([...known, ...moved]) };
};

const quarantineRecord = async (
  { db, origin }: { db: Db; origin: BatchOrigin | null },
  record: AuditRecord,
  refusal: unknown,
): Promise<WriteResult> => {
  const detail = `${sqlState(refusal) ?? ''} ${refusal instanceof Error ? refusal.message : ''}`.trim();
  let failure = refusal;
  for (const keep of KEEP) {
    try {
      return await inBatch(db, origin, (tx) => setAside(tx, record, detail, keep));
    } catch (error) {
      if (!isDataError(error)) throw storeError(error);
      failure = error;
    }
  }
  throw storeError(failure);
};

const join = (a: WriteResult, b: WriteResult): WriteResult => ({
  inserted: a.inserted + b.inserted,
  duplicates: a.duplicates + b.duplicates,
  quarantined: [...a.quarantined, ...b.quarantined],
  // b ran after a, so its heads are the newer ones.
  heads: new Map([...a.heads, ...b.heads]),
});

/**
 * Stores a batch (up to about 1,000 records). If Postgres refuses it for what is in it, halves are
 * tried until the poison record is alone; that one is quarantined and the others go in.
 * Throws `audit_store_unavailable` (retryable: run the same batch again) when Postgres cannot be
 * used, also when it is not known whether the commit happened; `state_untrusted` when run state was verified
 * since the batch was read, which must then be read again.
 */
export const writeBatch = async (
  db: Db,
  records: readonly AuditRecord[],
  origin: BatchOrigin | null = null,
): Promise<WriteResult> => {
  if (records.length === 0) return { inserted: 0, duplicates: 0, quarantined: [], heads: new Map() };
  try {
    return await inBatch(db, origin, (tx) => writeAll(tx, records));
  } catch (error) {
    if (!isDataError(error)) throw storeError(error);
    const [only] = records;
    if (records.length === 1 && only !== undefined) return quarantineRecord({ db, origin }, only, error);
    const middle = Math.ceil(records.length / 2);
    const left = await writeBatch(db, records.slice(0, middle), origin);
    return join(left, await writeBatch(db, records.slice(middle), origin));
  }
};
