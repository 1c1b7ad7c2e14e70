import { randomBytes } from 'node:crypto';
import { type Db, ensureTenantWithCaps, upsertApiKey } from '@signalbox/audit-store';
import type { ApiScope } from '@signalbox/contracts';
import { ensureTenantCaps, mirrorApiKey, type Partition } from '@signalbox/run-state';
import { sha256Hex } from '@signalbox/runtime';
import type { DefaultCaps } from './deps.ts';
import { reachingState } from './state-errors.ts';

/**
 * API keys. Only the SHA-256 of a key is kept; Postgres has the truth, Redis the mirror that requests are
 * judged by. A key's id follows from its hash, so that several processes given the same key agree on it.
 */
export interface KeyDeps {
  readonly partition: Partition;
  readonly db: Db;
  readonly defaultCaps: DefaultCaps;
}

export interface NewKey {
  readonly tenantId: string;
  readonly scopes: readonly ApiScope[];
  /** Default: a random one. */
  readonly secret?: string;
}

interface KeyEntry {
  readonly id: string;
  readonly hash: string;
}

const TIME_ZONE = 'UTC';
const SECRET_BYTES = 32;

const keyOf = (secret: string): KeyEntry => {
  const hash = sha256Hex(secret);
  return { hash, id: `key_${sha256Hex(hash).slice(0, 32)}` };
};

/** Makes the key work: its tenant has caps, and requests with it are recognised. Needs Redis alone. */
export const mirrorKey = async (deps: KeyDeps, key: Required<NewKey>): Promise<void> => {
  const { id, hash } = keyOf(key.secret);
  await reachingState(async () => {
    await ensureTenantCaps(deps.partition, key.tenantId, { ...deps.defaultCaps, timeZone: TIME_ZONE });
    await mirrorApiKey(deps.partition, hash, {
      keyId: id,
      tenantId: key.tenantId,
      scopes: [...key.scopes],
      expiresAt: null,
    });
  });
};

/** Makes the key last, and its tenant with the default caps if it is new. Throws `audit_store_unavailable`. */
export const storeKey = async (deps: KeyDeps, key: Required<NewKey>): Promise<void> => {
  const { id, hash } = keyOf(key.secret);
  const { tenantId, scopes } = key;
  await ensureTenantWithCaps(deps.db, {
    id: tenantId,
    partition: deps.partition.index,
    timeZone: TIME_ZONE,
    defaults: deps.defaultCaps,
  });
  await upsertApiKey(deps.db, { id, tenantId, name: id, hash, scopes, expiresAt: null });
};

/** A key, and its tenant with the default caps if it is new. The secret is not kept anywhere. */
export const createApiKey = async (deps: KeyDeps, key: NewKey): Promise<{ id: string; secret: string }> => {
  const secret = key.secret ?? `sbk_${randomBytes(SECRET_BYTES).toString('base64url')}`;
  await storeKey(deps, { ...key, secret });
  await mirrorKey(deps, { ...key, secret });
  return { id: keyOf(secret).id, secret };
};
