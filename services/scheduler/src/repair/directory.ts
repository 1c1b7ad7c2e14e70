import { type Db, listApiKeys, listCaps, listProviderKeys, readNewestVersions } from '@signalbox/audit-store';
import {
  MIRRORED_VERSIONS,
  mirrorAgent,
  mirrorApiKey,
  type Partition,
  replaceCaps,
  replaceProviderKeys,
} from '@signalbox/run-state';

/**
 * Writes again what the api mirrors from Postgres: caps, provider keys, API keys, the newest agent versions.
 * API keys that Redis has beyond that stay, as one that has not reached Postgres yet; a revoked one stays revoked. A
 * provider key that Postgres does not have was removed: it goes.
 */
export const restoreDirectory = async (partition: Partition, tx: Db): Promise<void> => {
  const here = <T extends { readonly partition: number }>(rows: readonly T[]): readonly T[] =>
    rows.filter((row) => row.partition === partition.index);
  const tenants = here(await listCaps(tx));
  for (const { tenantId, ...caps } of tenants) await replaceCaps(partition, tenantId, caps);
  const keysOf = Map.groupBy(await listProviderKeys(tx), ({ tenantId }) => tenantId);
  for (const { tenantId } of tenants)
    await replaceProviderKeys(partition, tenantId, keysOf.get(tenantId) ?? []);
  for (const key of here(await listApiKeys(tx))) {
    await mirrorApiKey(partition, key.hash, {
      keyId: key.id,
      tenantId: key.tenantId,
      scopes: [...key.scopes],
      expiresAt: key.expiresAt?.toISOString() ?? null,
      ...(key.revokedAt === null ? {} : { revoked: true }),
    });
  }
  for await (const versions of readNewestVersions(tx, MIRRORED_VERSIONS)) {
    for (const { tenantId, name, version, sealedSpec } of here(versions)) {
      await mirrorAgent(partition, { tenantId, name, version, sealedSpec });
    }
  }
};
