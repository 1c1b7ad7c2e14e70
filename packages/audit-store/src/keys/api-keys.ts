import { type ApiScope, SignalboxError } from '@signalbox/contracts';
import { type RawBuilder, sql } from 'kysely';
import { type Page, pageOf } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

export interface NewApiKey {
  /** `key_…` */
  readonly id: string;
  readonly tenantId: string;
  readonly name: string;
  /** SHA-256 of the key, 64 hex digits. */
  readonly hash: string;
  readonly scopes: readonly ApiScope[];
  readonly expiresAt: Date | null;
}

/** A key as stored, with the partition of its tenant. Whether it is still valid is for the reader's clock. */
export interface StoredApiKey extends NewApiKey {
  readonly partition: number;
  readonly createdAt: Date;
  readonly revokedAt: Date | null;
}

const select = (db: Db) =>
  db
    .selectFrom('api_keys')
    .innerJoin('tenants', 'tenants.id', 'api_keys.tenant_id')
    .select([
      'api_keys.id',
      'api_keys.tenant_id as tenantId',
      'api_keys.name',
      'api_keys.hash',
      'api_keys.scopes',
      'api_keys.created_at as createdAt',
      'api_keys.expires_at as expiresAt',
      'api_keys.revoked_at as revokedAt',
      'tenants.partition',
    ]);

/** Null: no key has this hash. Throws `audit_store_unavailable`. */
export const findApiKeyByHash = (db: Db, hash: string): Promise<StoredApiKey | null> =>
  reaching(async () => (await select(db).where('hash', '=', hash).executeTakeFirst()) ?? null);

/** Of a table that names the key which asked for something: that it would be refused by now. */
export const isRefusedKey = (keyId: RawBuilder<unknown>): RawBuilder<boolean> => sql<boolean>`exists (
  select from api_keys k where k.id = ${keyId} and (k.revoked_at is not null or k.expires_at <= now()))`;

/**
 * Stores the key with this hash as given; a known hash keeps its id, and stays revoked if it is.
 * Throws `invalid_request` when the hash is another tenant's, `audit_store_unavailable`.
 */
export const upsertApiKey = (db: Db, key: NewApiKey): Promise<StoredApiKey> =>
  reaching(async () => {
    const values = { name: key.name, scopes: [...key.scopes], expires_at: key.expiresAt };
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('api_keys')
      .values({ id: key.id, tenant_id: key.tenantId, hash: key.hash, ...values })
      .onConflict((conflict) =>
        conflict.column('hash').doUpdateSet(values).where('api_keys.tenant_id', '=', key.tenantId),
      )
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n) {
      throw new SignalboxError(
        'invalid_request',
        `API key ${key.id} has the value of another tenant's key; choose another`,
      );
    }
    return select(db).where('hash', '=', key.hash).executeTakeFirstOrThrow();
  });

/** Every key of every tenant, expired and revoked ones too, by id. Throws `audit_store_unavailable`. */
export const listApiKeys = (db: Db): Promise<StoredApiKey[]> =>
  reaching(() => select(db).orderBy('api_keys.id').execute());

export interface ApiKeyListQuery {
  readonly tenantId: string;
  readonly limit: number;
  /** Continue behind this id. */
  readonly after?: string | undefined;
}

/** A tenant's keys, expired and revoked ones too, by id. Throws `audit_store_unavailable`. */
export const listTenantApiKeys = (
  db: Db,
  { tenantId, limit, after }: ApiKeyListQuery,
): Promise<Page<StoredApiKey, string>> =>
  reaching(async () => {
    const read = await select(db)
      .where('api_keys.tenant_id', '=', tenantId)
      .$if(after !== undefined, (query) => query.where('api_keys.id', '>', after ?? ''))
      .orderBy('api_keys.id')
      .limit(limit + 1)
      .execute();
    return pageOf(read, { limit, placeOf: ({ id }) => id });
  });

const revocable = async (tx: Db, key: { tenantId: string; id: string }): Promise<StoredApiKey> => {
  const found = await select(tx)
    .where('api_keys.tenant_id', '=', key.tenantId)
    .where('api_keys.id', '=', key.id)
    .executeTakeFirst();
  if (found === undefined) throw new SignalboxError('not_found', `There is no API key ${key.id}.`);
  if (found.revokedAt !== null || !found.scopes.includes('admin')) return found;
  const others = await select(tx)
    .where('api_keys.tenant_id', '=', key.tenantId)
    .where('api_keys.id', '<>', key.id)
    .where('api_keys.revoked_at', 'is', null)
    .where(sql<boolean>`coalesce(api_keys.expires_at > now(), true) and 'admin' = any(api_keys.scopes)`)
    .limit(1)
    .execute();
  if (others.length > 0) return found;
  throw new SignalboxError(
    'last_admin_key',
    `API key ${key.id} is the last with scope admin; nobody could make another. Make one first, then revoke this.`,
  );
};

/**
 * Revokes a key for good; `effect` is what must be done with it, before the change is committed: if it throws, the key
 * stays valid. A revoked key is given to it again. Throws `not_found`, `last_admin_key`, `audit_store_unavailable`.
 */
export const revokeApiKey = (
  db: Db,
  key: { tenantId: string; id: string },
  effect: (key: StoredApiKey) => Promise<void>,
): Promise<StoredApiKey> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      // Of two admin keys that revoke each other, one waits here and then is the last.
      await tx.selectFrom('tenants').select('id').where('id', '=', key.tenantId).forUpdate().execute();
      const found = await revocable(tx, key);
      const revokedAt = found.revokedAt ?? new Date();
      if (found.revokedAt === null) {
        await tx.updateTable('api_keys').set({ revoked_at: revokedAt }).where('id', '=', key.id).execute();
      }
      await effect(found);
      return { ...found, revokedAt };
    }),
  );
