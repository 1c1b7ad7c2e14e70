/** What must be kept as it is: a run, or everything of a tenant. Erasure and retention pass it by. */
import { SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

export interface LegalHoldRef {
  readonly tenantId: string;
  /** Null: all of the tenant. */
  readonly runId: string | null;
}

export interface LegalHold {
  readonly reason: string | null;
  readonly since: Date;
}

const refusal = (what: string, how: string): SignalboxError =>
  new SignalboxError(
    'legal_hold',
    `${what} under legal hold, so nothing was erased. Lift the hold first, if that is allowed${how}.`,
  );

export const underLegalHold = (): SignalboxError => refusal('The run or its tenant is', '');

/** `runId` as it is stored. */
const heldBy = (runId: string): SignalboxError =>
  runId === ''
    ? refusal('All runs of this tenant are', ': PUT /v1/legal-hold')
    : refusal(`Run ${runId} is`, `: PUT /v1/runs/${runId}/legal-hold`);

/** Told under the lock of what is there, before anything is changed: if it throws, nothing is. */
type Watch = (before: LegalHold | null) => Promise<void>;

const unwatched: Watch = () => Promise.resolve();

const find = async (tx: Db, { tenantId, runId }: LegalHoldRef): Promise<LegalHold | null> => {
  const row = await tx
    .selectFrom('legal_holds')
    .select(['reason', 'since'])
    .where('tenant_id', '=', tenantId)
    .where('run_id', '=', runId ?? '')
    .executeTakeFirst();
  return row ?? null;
};

/** Waits for an erasure, a month that leaves, or another change. */
const locked = <T>(db: Db, work: (tx: Db) => Promise<T>): Promise<T> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtext('signalbox'), hashtext('erasure'))`.execute(tx);
      return work(tx);
    }),
  );

/** After it nothing held is erased, nor leaves. Throws `audit_store_unavailable`. */
export const saveLegalHold = (
  db: Db,
  ref: LegalHoldRef,
  { reason, heldBy }: { readonly reason: string | null; readonly heldBy: string },
  watch = unwatched,
): Promise<LegalHold> =>
  locked(db, async (tx) => {
    await watch(await find(tx, ref));
    return tx
      .insertInto('legal_holds')
      .values({ tenant_id: ref.tenantId, run_id: ref.runId ?? '', reason, held_by: heldBy })
      .onConflict((conflict) =>
        conflict.columns(['tenant_id', 'run_id']).doUpdateSet({ reason, held_by: heldBy }),
      )
      .returning(['reason', 'since'])
      .executeTakeFirstOrThrow();
  });

/** Throws `audit_store_unavailable`. */
export const liftLegalHold = (db: Db, ref: LegalHoldRef, watch = unwatched): Promise<void> =>
  locked(db, async (tx) => {
    await watch(await find(tx, ref));
    await tx
      .deleteFrom('legal_holds')
      .where('tenant_id', '=', ref.tenantId)
      .where('run_id', '=', ref.runId ?? '')
      .execute();
  });

/** Within an erasure's transaction, under its lock: throws `legal_hold` when one of the runs or the tenant is held. */
export const assertNotHeld = async (tx: Db, tenantId: string, runIds: readonly string[]): Promise<void> => {
  const row = await tx
    .selectFrom('legal_holds')
    .select('run_id')
    .where('tenant_id', '=', tenantId)
    .where('run_id', 'in', ['', ...runIds])
    .executeTakeFirst();
  if (row !== undefined) throw heldBy(row.run_id);
};
