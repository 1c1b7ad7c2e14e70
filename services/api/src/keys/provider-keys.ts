import {
  deleteProviderKey,
  ensureTenantWithCaps,
  readProviderKeys,
  saveProviderKey,
  withProviderKeysLocked,
} from '@signalbox/audit-store';
import { ModelError, type Principal, type ProviderName, SignalboxError } from '@signalbox/contracts';
import type { ProviderEntry, TenantKeys } from '@signalbox/providers';
import {
  type ProviderPing,
  reachingState,
  readProviderPings,
  replaceProviderKeys,
  saveProviderPing,
} from '@signalbox/run-state';
import { byKey, recordFact } from '../audit/admin-trail.ts';
import { newTenant } from '../caps/new-tenant.ts';
import type { ApiDeps } from '../deps.ts';
import type { ProviderView } from './provider-schemas.ts';

/**
 * A tenant's own provider keys: sealed at once, never given back (R13). A change goes as that of a cap: Postgres, the
 * truth; then the mirror that workers read, written from what Postgres says under the lock on all keys. A crash between
 * the two leaves the old key in use: nobody was told otherwise, and the same request again mirrors the new one.
 */

export interface ProviderRef {
  readonly principal: Principal;
  readonly provider: ProviderName;
}

const mirror = ({ db, partition }: ApiDeps, tenantId: string): Promise<void> =>
  withProviderKeysLocked(db, async (tx) => {
    const keys = await readProviderKeys(tx, tenantId);
    await reachingState(() => replaceProviderKeys(partition, tenantId, keys));
  });

/** In use at every worker within seconds of the return. Throws that a store cannot be reached: repeat it. */
export const setProviderKey = async (
  deps: ApiDeps,
  { principal, provider }: ProviderRef,
  secret: string,
): Promise<void> => {
  const { tenantId, keyId: setBy } = principal;
  const { id: keyId, sealed: sealedKey } = deps.vault.seal(tenantId, provider, secret);
  await ensureTenantWithCaps(deps.db, newTenant(deps, tenantId));
  await saveProviderKey(deps.db, { tenantId, provider, keyId, sealedKey, setBy }, async (before) => {
    if (before?.keyId === keyId) return;
    const data = { provider, change: 'set', key_id: keyId } as const;
    await recordFact(deps, byKey(principal), { type: 'provider_key.changed', data });
  });
  await mirror(deps, tenantId);
};

/** The key of the environment is used again, if there is one. Throws like `setProviderKey`. */
export const removeProviderKey = async (
  deps: ApiDeps,
  { principal, provider }: ProviderRef,
): Promise<void> => {
  const { tenantId } = principal;
  await deleteProviderKey(deps.db, { tenantId, provider }, async (before) => {
    if (before === null) return;
    const data = { provider, change: 'removed', key_id: before.keyId } as const;
    await recordFact(deps, byKey(principal), { type: 'provider_key.changed', data });
  });
  await mirror(deps, tenantId);
};

const MAX_ERROR = 500;

/** Null: it answered. */
const tryOut = async (
  { models, redactorOf }: ApiDeps,
  { principal, provider }: ProviderRef,
  keys: TenantKeys,
): Promise<string | null> => {
  try {
    await models.ping(provider, keys.get(provider) ?? null);
    return null;
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    return redactorOf(principal.tenantId).text(error.message).slice(0, MAX_ERROR);
  }
};

/** One free request with the key that calls would be made with; how it went is kept. Written down first (R9). */
export const pingProvider = async (deps: ApiDeps, ref: ProviderRef): Promise<void> => {
  const { partition, clock, vault } = deps;
  const { principal, provider } = ref;
  const { tenantId } = principal;
  const keys = await vault.keysOf(tenantId);
  const key = keys.get(provider);
  if (key !== undefined) {
    const data = { provider, source: key.source, key_id: key.id };
    await recordFact(deps, byKey(principal), { type: 'provider_key.pinged', data });
  }
  const at = new Date(clock.now()).toISOString();
  const startedAt = clock.monotonic();
  const error = await tryOut(deps, ref, keys);
  const ms = Math.round(clock.monotonic() - startedAt);
  const ping = { at, ok: error === null, ms, error, keyId: key?.id ?? null };
  await reachingState(() => saveProviderPing(partition, { tenantId, provider }, ping));
};

const viewOf = (
  { provider, auth_mode, default_model }: ProviderEntry,
  keys: TenantKeys,
  last: ProviderPing | undefined,
): ProviderView => {
  const key = keys.get(provider);
  const isOfKey = last !== undefined && last.keyId === (key?.id ?? null);
  return {
    provider,
    auth_mode,
    default_model,
    key: key?.source ?? 'none',
    last_ping: isOfKey
      ? { at: last.at, ok: last.ok, ms: last.ms, ...(last.error === null ? {} : { error: last.error }) }
      : null,
  };
};

/** How a tenant sees each provider. Throws `state_unavailable`, `state_untrusted`. */
export const providerViews = async (
  { partition, vault }: Pick<ApiDeps, 'partition' | 'vault'>,
  tenantId: string,
): Promise<(entry: ProviderEntry) => ProviderView> => {
  const [keys, pings] = await Promise.all([
    vault.keysOf(tenantId),
    reachingState(() => readProviderPings(partition, tenantId)),
  ]);
  return (entry) => viewOf(entry, keys, pings.get(entry.provider));
};

/** Throws `invalid_request`. */
export const assertTakesKey = ({ provider, key_env: variable }: ProviderEntry): void => {
  if (variable !== null) return;
  throw new SignalboxError('invalid_request', `Provider ${provider} takes no key; it works without one.`);
};
