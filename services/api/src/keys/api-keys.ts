import { randomBytes } from 'node:crypto';
import {
  type Db,
  ensureTenantWithCaps,
  revokeApiKey,
  type StoredApiKey,
  upsertApiKey,
} from '@signalbox/audit-store';
import { type ApiScope, hasScope, type Principal, SignalboxError } from '@signalbox/contracts';
import { ensureTenantCaps, mirrorApiKey, type Partition, reachingState } from '@signalbox/run-state';
import { sha256Hex } from '@signalbox/runtime';
import { byKey, recordFact, type TrailDeps } from '../audit/admin-trail.ts';
import { newTenant } from '../caps/new-tenant.ts';
import type { DefaultCaps } from '../deps.ts';

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
  /** Default: its id. */
  readonly name?: string;
  readonly expiresAt?: Date | null;
}

/** A key whose value is known. */
export type KnownKey = NewKey & { readonly secret: string };

interface KeyEntry {
  readonly id: string;
  readonly hash: string;
}

const SECRET_BYTES = 32;

export const keyOf = (secret: string): KeyEntry => {
  const hash = sha256Hex(secret);
  return { hash, id: `key_${sha256Hex(hash).slice(0, 32)}` };
};

const newSecret = (): string => `sbk_${randomBytes(SECRET_BYTES).toString('base64url')}`;

/** Makes the key work: its tenant has caps, and requests with it are recognised. Needs Redis alone. */
export const mirrorKey = async (deps: KeyDeps, key: KnownKey): Promise<void> => {
  const { id, hash } = keyOf(key.secret);
  const { timeZone, defaults } = newTenant(deps, key.tenantId);
  await reachingState(async () => {
    await ensureTenantCaps(deps.partition, key.tenantId, { ...defaults, timeZone });
    await mirrorApiKey(deps.partition, hash, {
      keyId: id,
      tenantId: key.tenantId,
      scopes: [...key.scopes],
      expiresAt: key.expiresAt?.toISOString() ?? null,
    });
  });
};

/** Requests with it are refused from here on, whatever else writes the mirror. */
export const mirrorRevoked = (deps: Pick<KeyDeps, 'partition'>, key: StoredApiKey): Promise<void> =>
  reachingState(() =>
    mirrorApiKey(deps.partition, key.hash, {
      keyId: key.id,
      tenantId: key.tenantId,
      scopes: [],
      expiresAt: null,
      revoked: true,
    }),
  );

/** Makes the key last, and its tenant with the default caps if it is new. Throws `audit_store_unavailable`. */
export const storeKey = async (deps: KeyDeps, key: KnownKey): Promise<StoredApiKey> => {
  const { id, hash } = keyOf(key.secret);
  const { tenantId, scopes, name = id, expiresAt = null } = key;
  await ensureTenantWithCaps(deps.db, newTenant(deps, tenantId));
  return upsertApiKey(deps.db, { id, tenantId, name, hash, scopes, expiresAt });
};

/** A key, and its tenant with the default caps if it is new. The secret is not kept anywhere. */
export const createApiKey = async (deps: KeyDeps, key: NewKey): Promise<{ id: string; secret: string }> => {
  const secret = key.secret ?? newSecret();
  await storeKey(deps, { ...key, secret });
  await mirrorKey(deps, { ...key, secret });
  return { id: keyOf(secret).id, secret };
};

export interface WantedKey {
  readonly name: string;
  readonly scopes: readonly ApiScope[];
  readonly expiresAt: Date | null;
}

/** Nobody gives away more than they have. */
const checkGrant = (principal: Principal, scopes: readonly ApiScope[]): void => {
  const missing = scopes.find((scope) => !hasScope(principal, scope));
  if (missing === undefined) return;
  throw new SignalboxError(
    'forbidden',
    `A key cannot grant scope ${missing}, which it does not hold itself.`,
  );
};

/**
 * A key that another one asked for. Throws `forbidden`, or that a store cannot be reached: then the key may be stored,
 * but nobody knows its value.
 */
export const issueKey = async (
  deps: KeyDeps & TrailDeps,
  principal: Principal,
  { name: wanted, scopes, expiresAt }: WantedKey,
): Promise<{ key: StoredApiKey; secret: string }> => {
  checkGrant(principal, scopes);
  // People name a key after whom it is for, or paste the wrong thing: it lies in the table of keys in clear (R13).
  const name = deps.redactorOf(principal.tenantId).text(wanted);
  const secret = newSecret();
  const key = { tenantId: principal.tenantId, scopes, secret, name, expiresAt };
  await recordFact(deps, byKey(principal), {
    type: 'key.created',
    data: {
      key_id: keyOf(secret).id,
      name,
      scopes: [...scopes],
      expires_at: expiresAt?.toISOString() ?? null,
    },
  });
  const stored = await storeKey(deps, key);
  await mirrorKey(deps, key);
  return { key: stored, secret };
};

/**
 * Refused everywhere from here on. The mirror goes first, within the transaction: when the commit fails, the key is
 * dead already and the caller asks again. Throws `not_found`, `last_admin_key`, or that a store cannot be reached.
 */
export const revokeKey = (
  deps: KeyDeps & TrailDeps,
  principal: Principal,
  id: string,
): Promise<StoredApiKey> =>
  revokeApiKey(deps.db, { tenantId: principal.tenantId, id }, async (key) => {
    if (key.revokedAt === null) {
      const data = { key_id: key.id, name: key.name };
      await recordFact(deps, byKey(principal), { type: 'key.revoked', data });
    }
    await mirrorRevoked(deps, key);
  });
