import { type AgentSpec, AgentSpec as Spec, type Json } from '@signalbox/contracts';
import { type Keyring, newDataKey, open, seal, SealError, sha256Hex } from '@signalbox/runtime';
import { canonicalJson } from './canonical-json.ts';

/**
 * Agent specs at rest: each version sealed with a key of its own, wrapped by the keyring (R13).
 * Text form: `<wrapped key>.<base64 of the sealed spec>`; neither part of a wrapped key nor base64 has more dots.
 */
interface AgentId {
  readonly tenantId: string;
  readonly name: string;
}

const placeOf = ({ tenantId, name }: AgentId): string => `agent:${tenantId}/${name}`;

export const sealSpec = (keyring: Keyring, agent: AgentId, spec: AgentSpec): string => {
  const dataKey = newDataKey();
  const sealed = seal(dataKey, JSON.stringify(spec), placeOf(agent));
  return `${keyring.wrap(dataKey, placeOf(agent))}.${sealed.toString('base64')}`;
};

/** Throws SealError for another agent's spec or an unknown key. */
export const openSpec = (keyring: Keyring, agent: AgentId, sealedSpec: string): AgentSpec => {
  const dot = sealedSpec.lastIndexOf('.');
  if (dot < 0) throw new SealError('a sealed spec has the form wrapped-key.base64');
  const dataKey = keyring.unwrap(sealedSpec.slice(0, dot), placeOf(agent));
  const text = open(dataKey, Buffer.from(sealedSpec.slice(dot + 1), 'base64'), placeOf(agent));
  return Spec.parse(JSON.parse(text.toString('utf8')));
};

/** A spec as one text, whatever order its fields came in. */
export const specText = (spec: AgentSpec): string => canonicalJson(spec as unknown as Json);

/** Names the content of a version: the same spec of the same agent has the same digest. */
export const specDigest = (agent: AgentId, spec: AgentSpec): string =>
  sha256Hex(`${placeOf(agent)}\n${specText(spec)}`);
