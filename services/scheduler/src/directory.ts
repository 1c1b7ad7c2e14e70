import {
  type Db,
  listAgentVersions,
  listApiKeys,
  listCaps,
  listRevokedApiKeys,
} from '@signalbox/audit-store';
import { forgetApiKey, mirrorAgent, mirrorApiKey, type Partition, replaceCaps } from '@signalbox/run-state';

/**
 * Writes again what the api mirrors from Postgres: caps, API keys, agent versions (design §5). Keys that Redis has
 * beyond that stay, as one that has not reached Postgres yet; a revoked one that an old copy brought back goes.
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
  for (const { hash } of here(await listRevokedApiKeys(tx))) await forgetApiKey(partition, hash);
  for (const { tenantId, name, version, sealedSpec } of here(await listAgentVersions(tx))) {
    await mirrorAgent(partition, { tenantId, name, version, sealedSpec });
  }
};
