import type { AuditRecord } from '@signalbox/contracts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';
import type { DaySpend } from './verification.ts';
import { holdIdsOf, ledgerAfter, type LedgerRow } from '../write/cost-changes.ts';
import { readLedger } from '../write/costs.ts';
import { storedHashes } from '../write/events.ts';
import { type GoodEntry, judge } from '../write/judge.ts';
import { eventIdOf } from '../write/run-heads.ts';

/** What the ledger will count once the audit stream is stored, beyond what it counts now. */
export interface UnstoredSpend {
  /** May name the same tenant, user and day more than once. */
  readonly days: readonly DaySpend[];
  /** By the root of the run tree. */
  readonly runs: ReadonlyMap<string, number>;
  /** Holds whose settlement waits there. */
  readonly settled: ReadonlySet<string>;
}

const notStored = async (db: Db, records: readonly AuditRecord[]): Promise<GoodEntry[]> => {
  const costly = judge(records).good.filter((entry) => holdIdsOf([entry]).length > 0);
  const stored = await storedHashes(db, costly);
  return costly.filter(({ event }) => !stored.has(eventIdOf(event)));
};

/**
 * Reads what waits in the audit stream as the audit-writer would, and writes nothing. Together with the ledger it is
 * all that is known to have been spent, in whatever order the stream was stored. Throws `audit_store_unavailable`.
 */
export const sumUnstoredSpend = (
  db: Db,
  batches: AsyncIterable<readonly AuditRecord[]>,
): Promise<UnstoredSpend> =>
  reaching(async () => {
    const days: DaySpend[] = [];
    const runs = new Map<string, number>();
    // A hold and its settlement may lie in different batches.
    const seen = new Map<string, LedgerRow>();
    for await (const batch of batches) {
      const fresh = await notStored(db, batch);
      const before = new Map([...(await readLedger(db, holdIdsOf(fresh))), ...seen]);
      for (const [id, row] of ledgerAfter(before, fresh)) {
        seen.set(id, row);
        const was = before.get(id);
        const spentNano = (row.observed_nano ?? 0) - (was?.observed_nano ?? 0);
        runs.set(row.root_run_id, (runs.get(row.root_run_id) ?? 0) + spentNano);
        // A settlement counts for its day once its hold tells which that is.
        const counted = was === undefined || was.day === null ? 0 : (was.observed_nano ?? 0);
        const ofDay = (row.observed_nano ?? 0) - counted;
        if (row.day === null || ofDay === 0) continue;
        days.push({ tenantId: row.tenant_id, userId: row.user_id ?? '', day: row.day, spentNano: ofDay });
      }
    }
    const settled = [...seen.values()].filter((row) => row.observed_nano !== null);
    return { days, runs, settled: new Set(settled.map((row) => row.hold_id)) };
  });
