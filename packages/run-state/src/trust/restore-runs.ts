import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { runScript } from '../redis/scripts.ts';
import { holdArgs, loadArgs, type LoadableRun, RANK } from './loadable-run.ts';
import { overtaken, type Verification } from './trust.ts';

/**
 * Puts runs back from what Postgres holds, within a verification, while nobody else writes (Trust). Each write
 * names its verification, so that one that was overtaken changes nothing.
 */

/** True: loaded. False: what Redis has of the run is not behind. Throws `state_unavailable`, `state_untrusted`. */
export const loadRun = async (
  partition: Partition,
  { token }: Verification,
  run: LoadableRun,
  { asleep }: { readonly asleep: boolean } = { asleep: false },
): Promise<boolean> => {
  const reply = await runScript(partition, 'load', [token, ...loadArgs(run, { asleep })]);
  if (reply === 'OVERTAKEN') throw overtaken();
  return reply === 'LOADED';
};

type Known =
  | 'runId'
  | 'tenantId'
  | 'userId'
  | 'agent'
  | 'rootRunId'
  | 'priority'
  | 'capNano'
  | 'epoch'
  | 'seq';

/** What Postgres knows of a run whose journal it cannot give. */
export interface RunOutline extends Pick<LoadableRun, Known | 'status' | 'holds'> {
  readonly createdAt: string;
  readonly sessionId: string | null;
}

/**
 * Takes a run that could not be loaded out of play (see set_aside.lua); listLoading has it from here on. Throws
 * `state_unavailable`, `state_untrusted`.
 */
export const setAside = async (
  partition: Partition,
  { token }: Verification,
  run: RunOutline,
): Promise<void> => {
  const header = {
    run: run.runId,
    tenant: run.tenantId,
    user: run.userId ?? '',
    agent: run.agent ?? '',
    root: run.rootRunId,
    rank: RANK[run.priority],
    cap: run.capNano === null ? 'inf' : String(run.capNano),
    epoch: run.epoch,
    seq: run.seq,
    status: run.status,
    created: run.createdAt,
    ...(run.sessionId === null ? {} : { session: run.sessionId }),
  };
  const args = [token, JSON.stringify(header), ...holdArgs(run.holds)];
  if ((await runScript(partition, 'set_aside', args)) === 'OVERTAKEN') throw overtaken();
};

/** How many runs no verification could put back yet. Throws `state_unavailable`. */
export const countUnrestored = ({ redis, root }: Partition): Promise<number> =>
  reachingState(() => redis.scard(`${root}:unrestored`));
