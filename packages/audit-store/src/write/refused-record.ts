import type { AuditRecord } from '@signalbox/contracts';
import type { Db } from '../db/pool.ts';
import { isDataError, sqlState, storeError } from '../db/store-errors.ts';
import { lockErasures } from '../retention/erasure.ts';
import type { BatchOrigin } from '../trust/incarnation.ts';
import { applyRunChanges } from './apply-run-changes.ts';
import { insertContents } from './contents.ts';
import { applyCosts } from './costs.ts';
import { inBatch, type WriteResult, type Written } from './batch-transaction.ts';
import { judge, type Judgement } from './judge.ts';
import { lockRuns } from './lock-runs.ts';
import { bareStub, entryItem, fullStub, insertQuarantine, insertStubs, recordItem } from './quarantine.ts';
import { runChanges } from './run-changes.ts';
import { endsAfter, eventIdOf } from './run-heads.ts';

/**
 * A record that Postgres refused for what is in it: it goes into quarantine whole, and as much of it into its place as
 * Postgres takes (R9).
 */

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

export const quarantineRecord = async (
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
