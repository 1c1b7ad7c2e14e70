import { type ApiScope, SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

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

/**
 * Makes the key with this hash valid as given; a known hash keeps its id and is no longer revoked.
 * Throws `invalid_request` when the hash is another tenant's, `audit_store_unavailable`.
 */
export const upsertApiKey = (db: Db, key: NewApiKey): Promise<StoredApiKey> =>
  reaching(async () => {
    const values = { name: key.name, scopes: [...key.scopes], expires_at: key.expiresAt };
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('api_keys')
      .values({ id: key.id, tenant_id: key.tenantId, hash: key.hash, ...values })
      .onConflict((conflict) =>
        conflict
          .column('hash')
          .doUpdateSet({ ...values, revoked_at: null })
          .where('api_keys.tenant_id', '=', key.tenantId),
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

/** Keys that are neither revoked nor expired, by id. Throws `audit_store_unavailable`. */
export const listApiKeys = (db: Db): Promise<StoredApiKey[]> =>
  reaching(() =>
    select(db)
      .where('api_keys.revoked_at', 'is', null)
      .where(sql<boolean>`coalesce(api_keys.expires_at > now(), true)`)
      .orderBy('api_keys.id')
      .execute(),
  );

/** Keys that are no longer valid, for a mirror that may have them still. Throws `audit_store_unavailable`. */
export const listRevokedApiKeys = (db: Db): Promise<StoredApiKey[]> =>
  reaching(() => select(db).where('api_keys.revoked_at', 'is not', null).execute());
