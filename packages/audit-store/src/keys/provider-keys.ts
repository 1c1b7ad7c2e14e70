import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/**
 * The vault: provider keys as they are decided, sealed. Who changes one writes here first and mirrors afterwards; the
 * lock on all of them makes the order of the mirrors the order of the changes.
 */

export interface ProviderKeyRef {
  readonly tenantId: string;
  readonly provider: string;
}

export interface StoredProviderKey extends ProviderKeyRef {
  readonly keyId: string;
  readonly sealedKey: string;
}

/** Told of a change before it is committed: if it throws, nothing is changed. */
type Watch = (before: StoredProviderKey | null) => Promise<void>;

const lock = (tx: Db) =>
  sql`select pg_advisory_xact_lock(hashtext('signalbox'), hashtext('provider keys'))`.execute(tx);

/** Until `work` is done nobody else changes or mirrors a provider key. Throws `audit_store_unavailable`. */
export const withProviderKeysLocked = <T>(db: Db, work: (tx: Db) => Promise<T>): Promise<T> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      await lock(tx);
      return work(tx);
    }),
  );

const select = (db: Db) =>
  db
    .selectFrom('provider_keys')
    .select(['tenant_id as tenantId', 'provider', 'key_id as keyId', 'sealed_key as sealedKey'])
    .orderBy('tenant_id')
    .orderBy('provider');

const find = async (tx: Db, { tenantId, provider }: ProviderKeyRef): Promise<StoredProviderKey | null> => {
  const of = select(tx).where('tenant_id', '=', tenantId).where('provider', '=', provider);
  return (await of.executeTakeFirst()) ?? null;
};

/** In the place of the one before. The tenant must exist. Throws `audit_store_unavailable`. */
export const saveProviderKey = (
  db: Db,
  { tenantId, provider, keyId, sealedKey, setBy }: StoredProviderKey & { readonly setBy: string },
  watch: Watch,
): Promise<void> =>
  withProviderKeysLocked(db, async (tx) => {
    const before = await find(tx, { tenantId, provider });
    const values = { key_id: keyId, sealed_key: sealedKey, set_by: setBy };
    await tx
      .insertInto('provider_keys')
      .values({ tenant_id: tenantId, provider, ...values })
      .onConflict((conflict) =>
        conflict.columns(['tenant_id', 'provider']).doUpdateSet({ ...values, set_at: sql<Date>`now()` }),
      )
      .execute();
    await watch(before);
  });

/** Throws `audit_store_unavailable`. */
export const deleteProviderKey = (
  db: Db,
  { tenantId, provider }: ProviderKeyRef,
  watch: Watch,
): Promise<void> =>
  withProviderKeysLocked(db, async (tx) => {
    const before = await find(tx, { tenantId, provider });
    await tx
      .deleteFrom('provider_keys')
      .where('tenant_id', '=', tenantId)
      .where('provider', '=', provider)
      .execute();
    await watch(before);
  });

/** A tenant's keys. Throws `audit_store_unavailable`. */
export const readProviderKeys = (db: Db, tenantId: string): Promise<StoredProviderKey[]> =>
  reaching(() => select(db).where('tenant_id', '=', tenantId).execute());

/**
 * Everybody's keys. Inside a transaction none is changed or mirrored by others until it ends. Throws
 * `audit_store_unavailable`.
 */
export const listProviderKeys = (db: Db): Promise<StoredProviderKey[]> =>
  reaching(async () => {
    await lock(db);
    return select(db).execute();
  });
