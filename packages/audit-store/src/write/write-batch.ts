/**
 * Moves commits from the audit stream into Postgres (design §5, Audit). The only writer of run data.
 *
 * One batch is one transaction; when it has returned, the caller may acknowledge (R8). Everything is
 * idempotent: projections count only the events that this transaction stored for the first time, so
 * a redelivery, in whatever order or grouping, changes nothing. Nothing is dropped (R9): what cannot
 * be stored as an event lies in audit_quarantine, with a stub in its position where that is known.
 */
import type { AuditRecord } from '@signalbox/contracts';
import { lockErasures } from '../retention/erasure.ts';
import { type BatchOrigin, countBatch, joinIncarnation } from '../trust/incarnation.ts';
import type { Db } from '../db/pool.ts';
import { isDataError, sqlState, storeError } from '../db/store-errors.ts';
import { insertAdminEvents } from './admin-events.ts';
import { insertContents } from './contents.ts';
import { applyCosts } from './costs.ts';
import { insertEvents } from './events.ts';
import { type BadEntry, type GoodEntry, judge, type Judgement } from './judge.ts';
import {
  bareStub,
  entryItem,
  fullStub,
  insertQuarantine,
  insertStubs,
  type Quarantined,
  recordItem,
  type Stub,
} from './quarantine.ts';
import { runChanges } from './run-changes.ts';
import { applyRunChanges } from './apply-run-changes.ts';
import { lockRuns } from './lock-runs.ts';
import { endsAfter, eventIdOf, type StoredHead } from './run-heads.ts';

interface Written {
  /** Events stored now. */
  readonly inserted: number;
  /** Events that were stored already. */
  readonly duplicates: number;
  /** What this batch holds for the quarantine; a redelivery reports it again. */
  readonly quarantined: readonly Quarantined[];
  /** By run id of the batch: up to where it is stored without a gap. */
  readonly heads: ReadonlyMap<string, StoredHead>;
}

export interface WriteResult extends Written {
  /** Batches of the partition that are stored, for acknowledge(); 0 without an origin. */
  readonly batches: number;
}

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

/**
 * One transaction of a batch; `origin` null: a batch that no verification can overtake, as in tests. Two writers
 * take turns by the locks on runs; read committed, so that each statement sees what the other has committed by then.
 */
const inBatch = (
  db: Db,
  origin: BatchOrigin | null,
  work: (tx: Db) => Promise<Written>,
): Promise<WriteResult> =>
  db
    .transaction()
    .setIsolationLevel('read committed')
    .execute(async (tx) => {
      if (origin !== null) await joinIncarnation(tx, origin);
      const written = await work(tx);
      return { ...written, batches: origin === null ? 0 : await countBatch(tx, origin) };
    });

interface Kept {
  readonly events: boolean;
  /** What they change in the run's row and in the ledger: they are authentic, whatever else Postgres refused. */
  readonly changes: boolean;
  readonly contents: boolean;
}

/** How much of a refused record is tried to keep beside its raw form, most first. */
const KEEP: readonly Kept[] = [
  { events: true, changes: true, contents: true },
  { events: true, changes: true, contents: false },
  { events: true, changes: false, contents: true },
  { events: true, changes: false, contents: false },
  { events: false, changes: false, contents: false },
];

/** Its events alone when its run is erased. */
const unlessErased = async (tx: Db, record: AuditRecord): Promise<AuditRecord> => {
  const erased = await lockErasures(tx, [record.runId]);
  return erased.has(record.runId) ? { ...record, wrappedKey: null, contents: [] } : record;
};

const NOTHING_JUDGED: Judgement = { good: [], admin: [], bad: [] };

const setAside = async (tx: Db, refused: AuditRecord, detail: string, keep: Kept): Promise<Written> => {
  const record = await unlessErased(tx, refused);
  const item = recordItem(record, detail);
  const { good, bad } = keep.events ? judge([record]) : NOTHING_JUDGED;
  // Each stub names what lies in quarantine of it.
  const quarantined = await insertQuarantine(tx, [item, ...bad.map(entryItem)]);
  // What had no position yet leaves none empty.
  if (!keep.events || record.adminDraft !== undefined)
    return { inserted: 0, duplicates: 0, quarantined, heads: new Map() };
  const known = await lockRuns(tx, [record]);
  const stubs = [
    ...good.map((entry) => fullStub(entry, item.id)),
    ...bad.flatMap((entry) => bareStub(entry) ?? []),
  ];
  const stubbed = await insertStubs(tx, stubs, known.heads);
  if (stubbed.size > 0 && keep.contents) await insertContents(tx, [record]);
  const touched = stubbed.size === 0 ? [] : [record.runId];
  const filled = stubs.filter((stub) => stubbed.has(eventIdOf(stub)));
  const told = keep.changes ? good.filter(({ event }) => stubbed.has(eventIdOf(event))) : [];
  const observedNano = await applyCosts(tx, told);
  const changes = runChanges(
    told.map(({ event }) => event),
    touched,
  );
  const moved = await applyRunChanges(tx, changes, {
    observedNano,
    ends: endsAfter(known, filled),
  });
  return { inserted: 0, duplicates: 0, quarantined, heads: new Map([...known.heads, ...moved]) };
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
