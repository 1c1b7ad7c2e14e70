import type { StoredAgent } from '@signalbox/audit-store';
import { AgentSpec } from '@signalbox/contracts';
import type { Keyring } from '@signalbox/runtime';
import { z } from 'zod';
import { openSpec } from './agent-specs.ts';

export const AgentView = z.object({
  name: z.string(),
  version: z.int(),
  created_at: z.string(),
  spec: AgentSpec,
});
export type AgentView = Omit<z.infer<typeof AgentView>, 'spec'> & { spec: AgentSpec };

/** An agent version as the api shows it. Throws like `openSpec`. */
export const agentView = (keyring: Keyring, agent: StoredAgent): AgentView => ({
  name: agent.name,
  version: agent.version,
  created_at: agent.createdAt.toISOString(),
  spec: openSpec(keyring, agent, agent.sealedSpec),
});
