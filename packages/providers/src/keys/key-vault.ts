import { type ProviderKey, providerKeyAad, type ProviderName, PROVIDERS } from '@signalbox/contracts';
import type { HeldSecrets, SecretOwner } from '@signalbox/engine';
import { type Clock, type Keyring, MissingKeyError, openText, SealError, sealText } from '@signalbox/runtime';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';
import type { PerProvider } from './provider-environment.ts';

/**
 * Which key a tenant's calls are made with: its own, which lies sealed in the vault (R13), else that of the
 * environment. Whatever is opened is known to the redaction before anybody is given it. A key in the vault that cannot
 * be opened is not replaced by another: nobody is charged for what the tenant meant to pay itself.
 */

export interface KeyVaultOptions {
  readonly keyring: Keyring;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** Of the environment. */
  readonly keys: PerProvider;
  readonly secrets: HeldSecrets;
  /** A tenant's sealed keys by provider. */
  readonly find: (tenantId: string) => Promise<ReadonlyMap<string, string>>;
  /** How long an answer stands; default 0. */
  readonly ttlMs?: number;
}

/** By provider; those without a key are not there. */
export type TenantKeys = ReadonlyMap<string, ProviderKey>;

export interface SealedKey {
  readonly id: string;
  readonly sealed: string;
}

export interface KeyVault {
  /** Throws what `find` throws. */
  keysOf(tenantId: string): Promise<TenantKeys>;
  /** A key as it may be stored. */
  seal(tenantId: string, provider: ProviderName, secret: string): SealedKey;
}

const Content = z.object({ id: z.string(), key: z.string() });

const ID_LENGTH = 16;
const MOST_TENANTS = 5000;

const sealKey = ({ keyring, secrets }: KeyVaultOptions, owner: SecretOwner, secret: string): SealedKey => {
  secrets.add(owner, secret);
  const aad = providerKeyAad(owner.tenantId, owner.provider);
  const id = keyId(keyring, aad, secret);
  return { id, sealed: sealText(keyring, JSON.stringify({ id, key: secret }), aad) };
};

/** Differs between tenants, so that it does not tell who shares a key. */
const keyId = (keyring: Keyring, aad: string, secret: string): string =>
  `pk_${keyring.digest(`${aad} ${secret}`).slice(0, ID_LENGTH)}`;

const openKey = ({ keyring, secrets }: KeyVaultOptions, owner: SecretOwner, sealed: string): ProviderKey => {
  try {
    const aad = providerKeyAad(owner.tenantId, owner.provider);
    const { id, key } = Content.parse(JSON.parse(openText(keyring, sealed, aad)));
    secrets.add(owner, key);
    return { source: 'vault', id, secret: key };
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    const unopened = { source: 'vault', id: null, secret: null } as const;
    return error instanceof MissingKeyError ? { ...unopened, lacksKey: true } : unopened;
  }
};

const lookUp = async (options: KeyVaultOptions, tenantId: string): Promise<TenantKeys> => {
  const { keyring, keys, find } = options;
  const stored = await find(tenantId);
  const found = new Map<string, ProviderKey>();
  for (const provider of PROVIDERS) {
    const sealed = stored.get(provider);
    const ofEnvironment = keys[provider] ?? '';
    if (sealed !== undefined) found.set(provider, openKey(options, { tenantId, provider }, sealed));
    else if (ofEnvironment !== '') {
      const id = keyId(keyring, providerKeyAad(tenantId, provider), ofEnvironment);
      found.set(provider, { source: 'env', id, secret: ofEnvironment });
    }
  }
  return found;
};

export const createKeyVault = (options: KeyVaultOptions): KeyVault => {
  const { clock, ttlMs = 0 } = options;
  const known = new LRUCache<string, { keys: Promise<TenantKeys>; until: number }>({ max: MOST_TENANTS });
  return {
    keysOf: (tenantId) => {
      const last = known.get(tenantId);
      if (last !== undefined && clock.monotonic() < last.until) return last.keys;
      const keys = lookUp(options, tenantId);
      if (ttlMs === 0) return keys;
      known.set(tenantId, { keys, until: clock.monotonic() + ttlMs });
      keys.catch(() => known.delete(tenantId));
      return keys;
    },
    seal: (tenantId, provider, secret) => sealKey(options, { tenantId, provider }, secret),
  };
};
