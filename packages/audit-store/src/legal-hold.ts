/** What must be kept as it is: a run, or everything of a tenant. Erasure and retention pass it by. */
import { SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

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

/** The hold with just this extent; null: there is none. Throws `audit_store_unavailable`. */
export const readLegalHold = (db: Db, { tenantId, runId }: LegalHoldRef): Promise<LegalHold | null> =>
  reaching(async () => {
    const row = await db
      .selectFrom('legal_holds')
      .select(['reason', 'since'])
      .where('tenant_id', '=', tenantId)
      .where('run_id', '=', runId ?? '')
      .executeTakeFirst();
    return row ?? null;
  });

/** Waits for an erasure, or a month that leaves; after it nothing held is erased, nor leaves. Throws `audit_store_unavailable`. */
export const saveLegalHold = (
  db: Db,
  { tenantId, runId }: LegalHoldRef,
  hold: { readonly reason: string | null; readonly heldBy: string },
): Promise<LegalHold> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtext('signalbox'), hashtext('erasure'))`.execute(tx);
      return tx
        .insertInto('legal_holds')
        .values({ tenant_id: tenantId, run_id: runId ?? '', reason: hold.reason, held_by: hold.heldBy })
        .onConflict((conflict) =>
          conflict
            .columns(['tenant_id', 'run_id'])
            .doUpdateSet({ reason: hold.reason, held_by: hold.heldBy }),
        )
        .returning(['reason', 'since'])
        .executeTakeFirstOrThrow();
    }),
  );

/** Throws `audit_store_unavailable`. */
export const liftLegalHold = (db: Db, { tenantId, runId }: LegalHoldRef): Promise<void> =>
  reaching(async () => {
    await db
      .deleteFrom('legal_holds')
      .where('tenant_id', '=', tenantId)
      .where('run_id', '=', runId ?? '')
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
