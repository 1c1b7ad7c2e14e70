import { ApiScope, type Principal } from '@signalbox/contracts';
import { z } from 'zod';
import type { Partition } from './partition.ts';
import { assertTrusted } from './trust.ts';

/**
 * What the api needs to answer without Postgres (design §5): API keys by their hash, and agent versions.
 * Postgres is the truth; whoever changes it writes here too.
 */
const KeyRecord = z.object({
  keyId: z.string(),
  tenantId: z.string(),
  scopes: z.array(ApiScope),
  expiresAt: z.string().nullable(),
});
export type KeyRecord = z.infer<typeof KeyRecord>;

const keyKey = (partition: Partition, hash: string): string => `${partition.root}:apikey:${hash}`;

export const mirrorApiKey = async (partition: Partition, hash: string, record: KeyRecord): Promise<void> => {
  await partition.redis.set(keyKey(partition, hash), JSON.stringify(record));
};

export const forgetApiKey = async (partition: Partition, hash: string): Promise<void> => {
  await partition.redis.del(keyKey(partition, hash));
};

/** A mirror that was emptied knows nothing, which is not to say that there is nothing: look again once it is trusted. */
const getMirrored = async (partition: Partition, key: string): Promise<string | null> => {
  const found = await partition.redis.get(key);
  if (found !== null) return found;
  await assertTrusted(partition);
  return partition.redis.get(key);
};

/** Who a key belongs to; null when it is unknown or has expired. Throws `state_untrusted`. */
export const findPrincipal = async (
  partition: Partition,
  hash: string,
  nowMs: number,
): Promise<Principal | null> => {
  const text = await getMirrored(partition, keyKey(partition, hash));
  if (text === null) return null;
  const record = KeyRecord.parse(JSON.parse(text));
  if (record.expiresAt !== null && Date.parse(record.expiresAt) <= nowMs) return null;
  return {
    keyId: record.keyId,
    tenantId: record.tenantId,
    partition: partition.index,
    scopes: record.scopes,
  };
};

/** An agent version; the spec is sealed by the keyring. */
const AgentRecord = z.object({ version: z.int(), sealedSpec: z.string() });
export type AgentRecord = z.infer<typeof AgentRecord>;

const agentKey = (partition: Partition, tenantId: string, name: string): string =>
  `${partition.root}:agent:${tenantId}:${name}`;

/** Versions only grow: an older one written late does not become the latest. */
export const mirrorAgent = async (
  partition: Partition,
  agent: { tenantId: string; name: string } & AgentRecord,
): Promise<void> => {
  await partition.redis.hset(
    agentKey(partition, agent.tenantId, agent.name),
    String(agent.version),
    agent.sealedSpec,
  );
};

/** A version of an agent, the latest when none is named; null when it is not there. */
export const findAgent = async (
  partition: Partition,
  agent: { tenantId: string; name: string; version: number | null },
): Promise<AgentRecord | null> => {
  const key = agentKey(partition, agent.tenantId, agent.name);
  const version = agent.version ?? Math.max(0, ...(await partition.redis.hkeys(key)).map(Number));
  const sealedSpec = await partition.redis.hget(key, String(version));
  return sealedSpec === null ? null : { version, sealedSpec };
};
