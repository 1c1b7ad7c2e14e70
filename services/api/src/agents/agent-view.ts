import type { StoredAgent } from '@signalbox/audit-store';
import type { AgentSpec } from '@signalbox/contracts';
import type { Keyring } from '@signalbox/runtime';
import { openSpec } from './agent-specs.ts';

export interface AgentView {
  readonly name: string;
  readonly version: number;
  readonly created_at: string;
  readonly spec: AgentSpec;
}

/** An agent version as the api shows it. Throws SealError. */
export const agentView = (keyring: Keyring, agent: StoredAgent): AgentView => ({
  name: agent.name,
  version: agent.version,
  created_at: agent.createdAt.toISOString(),
  spec: openSpec(keyring, agent, agent.sealedSpec),
});
