/**
 * Moves commits from the audit stream into Postgres (Audit). The only writer of run data.
 *
 * One batch is one transaction; when it has returned, the caller may acknowledge (R8). Everything is
 * idempotent: projections count only the events that this transaction stored for the first time, so
 * a redelivery, in whatever order or grouping, changes nothing. Nothing is dropped (R9): what cannot
 * be stored as an event lies in audit_quarantine, with a stub in its position where that is known.
 */
import type { AuditRecord } from '@signalbox/contracts';
import type { Db } from '../db/pool.ts';
import { isDataError, storeError } from '../db/store-errors.ts';
import { lockErasures } from '../retention/erasure.ts';
import type { BatchOrigin } from '../trust/incarnation.ts';
import { insertAdminEvents } from './admin-events.ts';
import { applyRunChanges } from './apply-run-changes.ts';
import { insertContents } from './contents.ts';
import { applyCosts } from './costs.ts';
import { insertEvents } from './events.ts';
import { inBatch, type WriteResult, type Written } from './batch-transaction.ts';
import { type BadEntry, type GoodEntry, judge, type Judgement } from './judge.ts';
import { lockRuns } from './lock-runs.ts';
import { bareStub, entryItem, insertQuarantine, insertStubs, type Stub } from './quarantine.ts';
import { quarantineRecord } from './refused-record.ts';
import { runChanges } from './run-changes.ts';
import { endsAfter, eventIdOf } from './run-heads.ts';

const forkOf = ({ record, entry, event }: GoodEntry): BadEntry => ({
  record,
  entry,
  reason: 'fork',
  detail: `another event with another hash is stored at seq ${event.seq}`,
  seq: event.seq,
});

const displaced = ({ record, entry, event }: GoodEntry): BadEntry => ({
  record,
  entry,
  reason: 'displaced',
  detail: `a damaged copy came first and left a stub at seq ${event.seq}`,
  seq: event.seq,
});

/** An entry for the quarantine that leaves a stub in its position. */
interface Stubbed {
  readonly record: AuditRecord;
  readonly stub: Stub;
}

const stubbedOf = (entry: BadEntry): Stubbed[] => {
  const stub = bareStub(entry);
  return stub === null ? [] : [{ record: entry.record, stub }];
};

const recordsOf = (...parts: readonly (readonly { readonly record: AuditRecord }[])[]): AuditRecord[] => [
  ...new Set(parts.flat().map(({ record }) => record)),
];

const idsOf = (records: readonly AuditRecord[]): string[] => [...new Set(records.map(({ runId }) => runId))];

const carriesContent = ({ wrappedKey, contents }: AuditRecord): boolean =>
  wrappedKey !== null || contents.length > 0;

const writeAll = async (tx: Db, { good, admin, bad }: Judgement): Promise<Written> => {
  const stubs = bad.flatMap(stubbedOf);
  // Before the locks on runs, here and below.
  const erased = await lockErasures(tx, idsOf(recordsOf(good, stubs).filter(carriesContent)));
  // Garbage that has no position makes no run.
  const known = await lockRuns(tx, recordsOf(good, stubs));
  const { fresh, duplicates, forks, late } = await insertEvents(tx, good, known);
  const apart = [...bad, ...forks.map(forkOf), ...late.map(displaced)];
  const quarantined = await insertQuarantine(tx, apart.map(entryItem));
  const free = await insertStubs(
    tx,
    stubs.map(({ stub }) => stub),
    known.heads,
  );
  const stubbed = stubs.filter(({ stub }) => free.has(eventIdOf(stub)));
  await insertContents(
    tx,
    recordsOf(fresh, stubbed).filter(({ runId }) => !erased.has(runId)),
  );
  const observed = await applyCosts(tx, fresh);
  const changes = runChanges(
    fresh.map(({ event }) => event),
    stubbed.map(({ stub }) => stub.run_id),
  );
  const filled = [...fresh.map(({ event }) => event), ...stubbed.map(({ stub }) => stub)];
  const moved = await applyRunChanges(tx, changes, {
    observedNano: observed,
    ends: endsAfter(known, filled),
  });
  // After the locks on runs: in one order everywhere.
  const placed = await insertAdminEvents(tx, admin);
  return {
    inserted: fresh.length + placed.inserted,
    duplicates: duplicates + placed.duplicates,
    quarantined,
    heads: new Map([...known.heads, ...moved]),
  };
};

const join = (a: WriteResult, b: WriteResult): WriteResult => ({
  inserted: a.inserted + b.inserted,
  duplicates: a.duplicates + b.duplicates,
  quarantined: [...a.quarantined, ...b.quarantined],
  // b ran after a, so its heads are the newer ones.
  heads: new Map([...a.heads, ...b.heads]),
  batches: b.batches,
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
  if (records.length === 0)
    return { inserted: 0, duplicates: 0, quarantined: [], heads: new Map(), batches: 0 };
  try {
    // Judged before: the runs are locked only for as long as Postgres works.
    const judgement = judge(records);
    return await inBatch(db, origin, (tx) => writeAll(tx, judgement));
  } catch (error) {
    if (!isDataError(error)) throw storeError(error);
    const [only] = records;
    if (records.length === 1 && only !== undefined) return quarantineRecord({ db, origin }, only, error);
    const middle = Math.ceil(records.length / 2);
    const left = await writeBatch(db, records.slice(0, middle), origin);
    return join(left, await writeBatch(db, records.slice(middle), origin));
  }
};
