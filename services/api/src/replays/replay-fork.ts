import { holdFork, noteFork, releaseFork, type ReplayOwner, type StoredReplay } from '@signalbox/audit-store';
import {
  type Divergence,
  fromUsd,
  type Principal,
  type ReplayChanges,
  SignalboxError,
  type StoredRun,
} from '@signalbox/contracts';
import { forkStepOf, readEntry } from '@signalbox/engine';
import { noteContentRead } from '../runs/content-read.ts';
import type { CreateDeps } from '../submission/create-run.ts';
import type { ApiDeps } from '../deps.ts';
import { forkRun } from '../submission/fork.ts';

/**
 * The paid part of a replay: where a run parts from its recording it goes on as a fork. Its cap is held on the job's
 * budget first (R1), and it is made under an Idempotency-Key of its own: whoever does it again after a crash finds the
 * same fork.
 */
export const MAX_FORKS = 1000;
/** Half of what an Idempotency-Key is kept. */
const REPEATABLE_HOURS = 12;
const LIMITS = { most: MAX_FORKS, repeatableHours: REPEATABLE_HOURS };

export type ForkDeps = CreateDeps & Pick<ApiDeps, 'redactorOf'>;

export interface ForkWish {
  readonly job: StoredReplay;
  readonly owner: ReplayOwner;
  readonly changes: ReplayChanges;
  readonly run: StoredRun;
  readonly divergence: Divergence;
}

export type Forked = 'forked' | 'not_forked' | 'lost';

const capOf = ({ run, changes }: ForkWish): number | null => {
  if (changes.limits?.cost_usd !== undefined) return fromUsd(changes.limits.cost_usd);
  const submitted = readEntry(run.entries[0] ?? '');
  return submitted.type === 'run.submitted' ? submitted.data.cap_nano : null;
};

const makeFork = async (deps: ForkDeps, wish: ForkWish, fromStep: number): Promise<string> => {
  const { job, run, changes } = wish;
  const principal: Principal = {
    keyId: job.created_by,
    tenantId: job.tenant_id,
    partition: deps.partition.index,
    scopes: ['runs:write', 'content:read'],
  };
  await noteContentRead(deps, principal, { runId: run.runId, by: 'fork' });
  const { run: fork } = await forkRun(deps, {
    principal,
    origin: run,
    request: { from_step: fromStep, changes },
    idempotent: { name: `replay ${job.id} ${run.runId}`, body: null },
    traceparent: null,
  });
  return fork.id;
};

/** Null: refused. Throws like `forkDiverged`. */
const tryFork = async (deps: ForkDeps, wish: ForkWish, fromStep: number): Promise<string | null> => {
  try {
    return await makeFork(deps, wish, fromStep);
  } catch (error) {
    if (error instanceof SignalboxError && error.retryable) throw error;
    // Nothing was written, and the run is not tried again: whether it was refused or broke, nobody needs the money.
    await releaseFork(deps.db, wish.owner.id, wish.run.runId);
    if (error instanceof SignalboxError && error.status < 500) return null;
    throw error;
  }
};

/** Throws what can be tried again (`SignalboxError.retryable`) with the fork's money still held, and what broke. */
export const forkDiverged = async (deps: ForkDeps, wish: ForkWish): Promise<Forked> => {
  const { owner, run, divergence } = wish;
  const [fromStep, capNano] = [forkStepOf(divergence), capOf(wish)];
  if (fromStep === null || capNano === null) return 'not_forked';
  const { runId } = run;
  const hold = await holdFork(deps.db, owner, { runId, fromStep, capNano }, LIMITS);
  if (hold.type === 'lost') return 'lost';
  if (hold.type === 'no_room') return 'not_forked';
  if (hold.type === 'made') return hold.forkRunId === null ? 'not_forked' : 'forked';
  const forkRunId = await tryFork(deps, wish, fromStep);
  if (forkRunId === null) return 'not_forked';
  // It is there: its money stays held even if this cannot be written.
  await noteFork(deps.db, owner.id, runId, forkRunId);
  return 'forked';
};
