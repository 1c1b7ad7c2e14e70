import { agentAad, type AgentSpec, SpecContent } from '@signalbox/contracts';
import { specText } from '@signalbox/engine';
import { type Keyring, openText, sealText, sha256Hex } from '@signalbox/runtime';
import { LRUCache } from 'lru-cache';
import { opened } from '../http/missing-key.ts';

/** Agent specs at rest: each version sealed with a key of its own, wrapped by the keyring (R13). */

interface AgentId {
  readonly tenantId: string;
  readonly name: string;
}

const aadOf = ({ tenantId, name }: AgentId): string => agentAad(tenantId, name);

export const sealSpec = (keyring: Keyring, agent: AgentId, spec: AgentSpec): string =>
  sealText(keyring, JSON.stringify(spec), aadOf(agent));

/** Throws `encryption_key_missing`, also for another agent's spec; SealError. */
export const openSpec = (keyring: Keyring, agent: AgentId, sealedSpec: string): AgentSpec => {
  const text = opened(`Agent ${agent.name}`, () => openText(keyring, sealedSpec, aadOf(agent)));
  return SpecContent.parse(JSON.parse(text));
};

/** Versions that were opened last, for each keyring: a version never changes, so it need not be read and opened again. */
const OPENED = 200;
/** A larger one costs little beside what is done with it, and many of them would fill the memory. */
const LARGEST_KEPT = 65_536;
const openedSpecs = new WeakMap<Keyring, LRUCache<string, AgentSpec>>();

const openedBy = (keyring: Keyring): LRUCache<string, AgentSpec> => {
  const known = openedSpecs.get(keyring) ?? new LRUCache<string, AgentSpec>({ max: OPENED });
  openedSpecs.set(keyring, known);
  return known;
};

const versionName = (agent: AgentId, version: number): string => `${aadOf(agent)}@${version}`;

/** A version that was opened before; undefined: it must be read. */
export const openedVersion = (keyring: Keyring, agent: AgentId, version: number): AgentSpec | undefined =>
  openedBy(keyring).get(versionName(agent, version));

/** Throws like `openSpec`. */
export const openVersion = (
  keyring: Keyring,
  agent: AgentId,
  { version, sealedSpec }: { readonly version: number; readonly sealedSpec: string },
): AgentSpec => {
  const spec = openSpec(keyring, agent, sealedSpec);
  if (sealedSpec.length <= LARGEST_KEPT) openedBy(keyring).set(versionName(agent, version), spec);
  return spec;
};

/** Names the content of a version: the same spec of the same agent has the same digest. */
export const specDigest = (agent: AgentId, spec: AgentSpec): string =>
  sha256Hex(`${aadOf(agent)}\n${specText(spec)}`);
