import { type Db, listAgentVersions, listApiKeys, listCaps } from '@signalbox/audit-store';
import { mirrorAgent, mirrorApiKey, type Partition, replaceCaps } from '@signalbox/run-state';

/**
 * Writes again what the api mirrors from Postgres: caps, API keys, agent versions (design §5). What Redis has
 * beyond that stays: a key or cap that has not reached Postgres yet was decided all the same.
 */
export const restoreDirectory = async (partition: Partition, tx: Db): Promise<void> => {
  const here = <T extends { readonly partition: number }>(rows: readonly T[]): readonly T[] =>
    rows.filter((row) => row.partition === partition.index);
  for (const { tenantId, ...caps } of here(await listCaps(tx))) await replaceCaps(partition, tenantId, caps);
  for (const key of here(await listApiKeys(tx))) {
    await mirrorApiKey(partition, key.hash, {
      keyId: key.id,
      tenantId: key.tenantId,
      scopes: [...key.scopes],
      expiresAt: key.expiresAt?.toISOString() ?? null,
    });
  }
  for (const { tenantId, name, version, sealedSpec } of here(await listAgentVersions(tx))) {
    await mirrorAgent(partition, { tenantId, name, version, sealedSpec });
  }
};
