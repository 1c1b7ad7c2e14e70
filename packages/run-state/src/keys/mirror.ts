import { ApiScope, type Principal } from '@signalbox/contracts';
import { z } from 'zod';
import type { Partition } from '../redis/partition.ts';
import { runScript } from '../redis/scripts.ts';
import { assertTrusted } from '../trust/trust.ts';
import { writeTogether } from '../redis/write-together.ts';

/**
 * What the api needs to answer without Postgres: API keys by their hash, and agent versions.
 * Postgres is the truth; whoever changes it writes here too.
 */

const KeyRecord = z.object({
  keyId: z.string(),
  tenantId: z.string(),
  scopes: z.array(ApiScope),
  expiresAt: z.string().nullable(),
  /** Stays here so that nothing makes the key valid again, and its use is seen as that of its tenant. */
  revoked: z.literal(true).optional(),
});
export type KeyRecord = z.infer<typeof KeyRecord>;

const keyKey = (partition: Partition, hash: string): string => `${partition.root}:apikey:${hash}`;

/**
 * Writes a key as Postgres has it. A revoked one replaces what is here; any other is only added, so that whoever read
 * Postgres a moment ago cannot make a key valid again. Throws `state_unavailable`.
 */
export const mirrorApiKey = async (partition: Partition, hash: string, record: KeyRecord): Promise<void> => {
  const write = ['SET', keyKey(partition, hash), JSON.stringify(record)] as const;
  await writeTogether(partition, [record.revoked === true ? write : [...write, 'NX']]);
};

/** A mirror that was emptied knows nothing, which is not to say that there is nothing: look again once it is trusted. */
const getMirrored = async (partition: Partition, key: string): Promise<string | null> => {
  const found = await partition.redis.get(key);
  if (found !== null) return found;
  await assertTrusted(partition);
  return partition.redis.get(key);
};

/** Why a key is refused; of one that we know, whose it is. */
export interface RefusedKey {
  readonly refused: 'unknown_key' | 'expired_key' | 'revoked_key';
  readonly owner: { readonly tenantId: string; readonly keyId: string } | null;
}

/** Who a key belongs to, or why it is refused. Throws `state_untrusted`. */
export const findPrincipal = async (
  partition: Partition,
  hash: string,
  nowMs: number,
): Promise<Principal | RefusedKey> => {
  const text = await getMirrored(partition, keyKey(partition, hash));
  if (text === null) return { refused: 'unknown_key', owner: null };
  const { keyId, tenantId, scopes, expiresAt, revoked } = KeyRecord.parse(JSON.parse(text));
  const owner = { tenantId, keyId };
  if (revoked === true) return { refused: 'revoked_key', owner };
  if (expiresAt !== null && Date.parse(expiresAt) <= nowMs) return { refused: 'expired_key', owner };
  return { keyId, tenantId, partition: partition.index, scopes };
};

/** An agent version; the spec is sealed by the keyring. */
const AgentRecord = z.object({ version: z.int(), sealedSpec: z.string() });
export type AgentRecord = z.infer<typeof AgentRecord>;

const agentKey = (partition: Partition, tenantId: string, name: string): string =>
  `${partition.root}:agent:${tenantId}:${name}`;

/** Of an agent the newest versions are mirrored, so many and of so many bytes together, and the latest in any case. */
export const MIRRORED_VERSIONS = 10;
const MIRRORED_BYTES = 262_144;

/** Lets go of old versions, once `written` is there. Answers the latest that is here. */
const keepNewest = async (
  partition: Partition,
  { tenantId, name }: { tenantId: string; name: string },
  written: readonly (string | number)[] = [],
): Promise<number | null> => {
  const args = [tenantId, name, MIRRORED_VERSIONS, MIRRORED_BYTES, ...written];
  return z
    .int()
    .nullable()
    .parse(await runScript(partition, 'agent', args));
};

/**
 * Versions only grow: an older one written late does not become the latest, and stays only if it is among the newest.
 * Throws `state_unavailable`.
 */
export const mirrorAgent = async (
  partition: Partition,
  { version, sealedSpec, ...agent }: { tenantId: string; name: string } & AgentRecord,
): Promise<void> => {
  await keepNewest(partition, agent, [version, sealedSpec]);
};

/** The latest version of an agent that is here; null when none is. */
export const latestAgentVersion = async (
  partition: Partition,
  { tenantId, name }: { tenantId: string; name: string },
): Promise<number | null> => {
  const versions = await partition.redis.hkeys(agentKey(partition, tenantId, name));
  // Written by older code, which kept them all: they are not to be read at each submission.
  if (versions.length > MIRRORED_VERSIONS) return keepNewest(partition, { tenantId, name });
  return versions.length === 0 ? null : Math.max(...versions.map(Number));
};

/** A version of an agent, the latest when none is named; null when it is not there. */
export const findAgent = async (
  partition: Partition,
  agent: { tenantId: string; name: string; version: number | null },
): Promise<AgentRecord | null> => {
  const version = agent.version ?? (await latestAgentVersion(partition, agent));
  if (version === null) return null;
  const key = agentKey(partition, agent.tenantId, agent.name);
  const sealedSpec = await partition.redis.hget(key, String(version));
  return sealedSpec === null ? null : { version, sealedSpec };
};
