import { z } from 'zod';
import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { assertTrusted } from '../trust/trust.ts';
import { writeTogether } from '../redis/write-together.ts';

/**
 * Tenants' own provider keys as Redis mirrors them, sealed (R13), in one hash per tenant: workers need no Postgres to
 * use them (R11). Postgres is the truth; whoever changes it writes here afterwards. Beside them, how the last try of
 * each key went: only seen here, and gone with this Redis.
 */

const keysKey = ({ root }: Partition, tenantId: string): string => `${root}:provider_keys:${tenantId}`;
const pingsKey = ({ root }: Partition, tenantId: string): string => `${root}:provider_pings:${tenantId}`;

/**
 * Sealed keys by provider. Throws `state_unavailable`; `state_untrusted` when there are none, but they may only be
 * lost: then another key must not be used in their place.
 */
export const findProviderKeys = async (
  partition: Partition,
  tenantId: string,
): Promise<ReadonlyMap<string, string>> => {
  const read = (): Promise<Record<string, string>> =>
    reachingState(() => partition.redis.hgetall(keysKey(partition, tenantId)));
  const found = new Map(Object.entries(await read()));
  if (found.size > 0) return found;
  await assertTrusted(partition);
  return new Map(Object.entries(await read()));
};

export interface SealedProviderKey {
  readonly provider: string;
  readonly sealedKey: string;
}

/** Puts a tenant's keys in place of whatever is here. Throws `state_unavailable`. */
export const replaceProviderKeys = (
  partition: Partition,
  tenantId: string,
  keys: readonly SealedProviderKey[],
): Promise<void> => {
  const key = keysKey(partition, tenantId);
  return writeTogether(partition, [
    ['DEL', key],
    ...keys.map(({ provider, sealedKey }) => ['HSET', key, provider, sealedKey] as const),
  ]);
};

const ProviderPing = z.object({
  at: z.string(),
  ok: z.boolean(),
  ms: z.int(),
  error: z.string().nullable(),
  /** Of the key that was tried; null: none was needed. */
  keyId: z.string().nullable(),
});
export type ProviderPing = z.infer<typeof ProviderPing>;

/** In place of the last one of its provider. Throws `state_unavailable`. */
export const saveProviderPing = (
  partition: Partition,
  { tenantId, provider }: { readonly tenantId: string; readonly provider: string },
  ping: ProviderPing,
): Promise<void> =>
  writeTogether(partition, [['HSET', pingsKey(partition, tenantId), provider, JSON.stringify(ping)]]);

/** The last one of each provider. */
export const readProviderPings = async (
  partition: Partition,
  tenantId: string,
): Promise<ReadonlyMap<string, ProviderPing>> => {
  const found = Object.entries(await partition.redis.hgetall(pingsKey(partition, tenantId)));
  return new Map(found.map(([provider, text]) => [provider, ProviderPing.parse(JSON.parse(text))]));
};
