/**
 * Erasure of what was said in a run (Contents): its key and contents are destroyed, its journal and its
 * costs stay. States: stored -> erased, for good.
 * erased_runs remembers it, so that neither a redelivery nor a verification of run state brings anything back.
 */
import { sql } from 'kysely';
import { pagesOf } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { assertNotHeld, underLegalHold } from './legal-hold.ts';
import { reaching, sqlState } from '../db/store-errors.ts';

export interface ErasedRun {
  readonly runId: string;
  readonly erasedAt: Date;
}

interface ErasedRow {
  readonly run_id: string;
  readonly erased_at: Date;
}

const toErased = ({ run_id, erased_at }: ErasedRow): ErasedRun => ({ runId: run_id, erasedAt: erased_at });

/** What erase_run_contents refuses with. */
const HELD = 'SBLH1';

/** What goes with an erasure. What one of them throws under its lock leaves everything as it was here. */
export interface ErasureSteps {
  /** Under the lock: writes down which runs are erased only now, before anything of them is (R9). */
  readonly note?: (fresh: readonly string[]) => Promise<void>;
  /**
   * Erases them where else they are. Under the lock, so that who dies before it is settled here finds it still to do;
   * and behind it, since a verification may have put a run back before it could see this erasure.
   */
  readonly elsewhere?: (erased: readonly ErasedRun[]) => Promise<void>;
}

const freshOf = async (tx: Db, runIds: readonly string[]): Promise<string[]> => {
  const rows = await tx.selectFrom('erased_runs').select('run_id').where('run_id', 'in', runIds).execute();
  const known = new Set(rows.map((row) => row.run_id));
  return runIds.filter((runId) => !known.has(runId));
};

const destroy = async (tx: Db, tenantId: string, runIds: readonly string[]): Promise<ErasedRun[]> => {
  const { rows } = await sql<ErasedRow>`
    select erased_id as run_id, since as erased_at
    from erase_run_contents(${tenantId}, ${runIds}::text[])`
    .execute(tx)
    .catch((error: unknown) => {
      throw sqlState(error) === HELD ? underLegalHold() : error;
    });
  return rows.map(toErased);
};

/**
 * Destroys keys and contents of runs that have ended; of all or none. Safe to repeat. Throws `legal_hold` when one of
 * them or the tenant is held, `audit_store_unavailable`, and what a step throws.
 */
export const eraseRunContents = (
  db: Db,
  tenantId: string,
  runIds: readonly string[],
  { note, elsewhere }: ErasureSteps = {},
): Promise<ErasedRun[]> =>
  reaching(async () => {
    const locked = db.transaction().setIsolationLevel('read committed');
    const erased = await locked.execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtext('signalbox'), hashtext('erasure'))`.execute(tx);
      await assertNotHeld(tx, tenantId, runIds);
      const fresh = await freshOf(tx, runIds);
      if (fresh.length > 0) await note?.(fresh);
      const destroyed = await destroy(tx, tenantId, runIds);
      await elsewhere?.(destroyed);
      return destroyed;
    });
    await elsewhere?.(erased);
    return erased;
  });

const ERASED_PER_PAGE = 2000;

/** Runs that were erased since then, the first ones first, page by page. Throws `audit_store_unavailable`. */
export async function* listErased(
  db: Db,
  since: Date,
  { limit = ERASED_PER_PAGE } = {},
): AsyncGenerator<readonly ErasedRun[]> {
  // The time as text, to the microsecond: those of one order have the same, and a page may end among them.
  const pages = pagesOf<ErasedRow & { time: string }>(limit, (last) =>
    reaching(async () => {
      const { time, run_id: runId } = last ?? { time: since.toISOString(), run_id: '' };
      const { rows } = await sql<ErasedRow & { time: string }>`
        select run_id, erased_at, erased_at::text as time from erased_runs
        where (erased_at, run_id) > (${time}::timestamptz, ${runId})
        order by erased_at, run_id limit ${limit}`.execute(db);
      return rows;
    }),
  );
  for await (const page of pages) yield page.map(toErased);
}

/** Within a batch's transaction: those of these runs that are erased. Until it ends none of them becomes so. */
export const lockErasures = async (tx: Db, runIds: readonly string[]): Promise<ReadonlySet<string>> => {
  if (runIds.length === 0) return new Set();
  await sql`select pg_advisory_xact_lock_shared(hashtext('signalbox'), hashtext('erasure'))`.execute(tx);
  // A statement of its own: it sees what the lock waited for.
  const { rows } = await sql<{ run_id: string }>`
    select run_id from erased_runs where run_id = any(${runIds}::text[])`.execute(tx);
  return new Set(rows.map((row) => row.run_id));
};
