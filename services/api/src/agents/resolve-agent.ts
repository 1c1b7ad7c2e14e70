import { getAgent } from '@signalbox/audit-store';
import { type AgentSpec, type RunSubmission, SignalboxError } from '@signalbox/contracts';
import {
  type AgentRecord,
  findAgent,
  latestAgentVersion,
  mirrorAgent,
  reachingState,
} from '@signalbox/run-state';
import { openedVersion, openVersion } from './agent-specs.ts';
import type { ApiDeps } from '../deps.ts';

/** A submission's agent as the immutable spec it will run with. Name and version are null for an inline spec. */
export interface ResolvedAgent {
  readonly name: string | null;
  readonly version: number | null;
  readonly spec: AgentSpec;
}

type ResolveDeps = Pick<ApiDeps, 'partition' | 'db' | 'keyring'>;

interface Wanted {
  readonly tenantId: string;
  readonly name: string;
  /** Null: the latest. */
  readonly version: number | null;
}

const splitRef = (ref: string): { name: string; version: number | null } => {
  const [name = '', version] = ref.split('@');
  return { name, version: version === undefined ? null : Number(version) };
};

/**
 * Reads a version that is not mirrored; null when Postgres does not have it either. Only the latest goes to the mirror:
 * any other is older than what is kept there, and would be passed off as the latest where nothing is.
 */
const fetchVersion = async (
  { db, partition }: ResolveDeps,
  { tenantId, name, version }: Wanted,
): Promise<AgentRecord | null> => {
  const stored = await getAgent(db, { tenantId, name, version: version ?? undefined });
  if (stored === null) return null;
  const record = { version: stored.version, sealedSpec: stored.sealedSpec };
  if (version === null) await reachingState(() => mirrorAgent(partition, { tenantId, name, ...record }));
  return record;
};

const findRecord = async (deps: ResolveDeps, wanted: Wanted): Promise<AgentRecord | null> =>
  (await reachingState(() => findAgent(deps.partition, wanted))) ?? fetchVersion(deps, wanted);

/** A version that this process opened before: only which is the latest must be asked. Null: it is to be read. */
const recall = async (
  { partition, keyring }: ResolveDeps,
  wanted: Wanted,
): Promise<{ version: number; spec: AgentSpec } | null> => {
  const version = wanted.version ?? (await reachingState(() => latestAgentVersion(partition, wanted)));
  const spec = version === null ? undefined : openedVersion(keyring, wanted, version);
  return version === null || spec === undefined ? null : { version, spec };
};

/** Throws `agent_not_found`, `encryption_key_missing`, or that a store cannot be reached. */
export const resolveAgent = async (
  deps: ResolveDeps,
  tenantId: string,
  agent: RunSubmission['agent'],
): Promise<ResolvedAgent> => {
  if (typeof agent !== 'string') return { name: null, version: null, spec: agent };
  const wanted = { tenantId, ...splitRef(agent) };
  const { name } = wanted;
  const recalled = await recall(deps, wanted);
  if (recalled !== null) return { name, ...recalled };
  const record = await findRecord(deps, wanted);
  if (record === null) {
    throw new SignalboxError(
      'agent_not_found',
      `There is no agent ${agent}. Make it with PUT /v1/agents/${name}.`,
      {
        errors: [{ path: 'agent', message: 'no such agent or version' }],
      },
    );
  }
  return { name, version: record.version, spec: openVersion(deps.keyring, wanted, record) };
};
