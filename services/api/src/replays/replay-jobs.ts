import {
  abortReplay,
  findReplayOfKey,
  insertReplay,
  listForks,
  readReplay,
  type StoredFork,
  type StoredReplay,
} from '@signalbox/audit-store';
import {
  AgentSpec,
  type ErrorCode,
  fromUsd,
  type IdempotencyMark,
  newId,
  type Principal,
  replayAad,
  type ReplayChanges,
  type ReplaysRequest,
  SignalboxError,
  toUsd,
} from '@signalbox/contracts';
import { sealText, wellFormedDeep } from '@signalbox/runtime';
import { byKey, fieldsOf, recordFact } from '../audit/admin-trail.ts';
import { checkModels } from '../submission/check-models.ts';
import type { ApiDeps } from '../deps.ts';
import { idempotencyMarks, type IdempotentRequest } from '../submission/idempotency.ts';
import type { ReplayJob } from './replay-schemas.ts';

/** Jobs that replay many runs, as their tenant sees them; replay-turn.ts works them. */
type JobDeps = Pick<ApiDeps, 'db' | 'keyring' | 'partition' | 'clock' | 'redactorOf' | 'prices'>;

const viewOf = (job: StoredReplay, forks: readonly StoredFork[]): ReplayJob => ({
  id: job.id,
  status: job.status,
  filter: job.filter,
  changed: [...job.changed],
  compare: job.compare,
  mode: job.mode,
  counts: {
    selected: job.selected,
    identical: job.identical,
    diverged: job.diverged,
    failed: job.failed,
    forked: forks.filter(({ fork_run_id }) => fork_run_id !== null).length,
    not_forked: job.not_forked,
  },
  steps: job.steps,
  steps_per_second: job.busy_ms === 0 ? null : Math.round((job.steps * 1000) / job.busy_ms),
  max_cost_usd: job.budget_nano === null ? null : toUsd(job.budget_nano),
  committed_usd: toUsd(forks.reduce((sum, { cap_nano }) => sum + cap_nano, 0)),
  divergences: [...job.divergences],
  failures: job.failures.map(({ run_id, code }) => ({ run_id, code: code as ErrorCode })),
  forks: forks.map(({ run_id, from_step, fork_run_id }) => ({ run_id, from_step, fork_run_id })),
  error: job.error,
  created_at: job.created_at.toISOString(),
  started_at: job.started_at?.toISOString() ?? null,
  finished_at: job.finished_at?.toISOString() ?? null,
});

const view = async ({ db }: JobDeps, job: StoredReplay): Promise<ReplayJob> =>
  viewOf(job, job.mode === 'paid' ? await listForks(db, job.id) : []);

/** Throws `not_found`, also for another tenant's; `audit_store_unavailable`. */
export const findReplayJob = async (deps: JobDeps, tenantId: string, id: string): Promise<ReplayJob> => {
  const job = await readReplay(deps.db, tenantId, id);
  if (job === null) throw new SignalboxError('not_found', `There is no replay ${id}.`);
  return view(deps, job);
};

export interface ReplayOrder {
  readonly principal: Principal;
  readonly request: ReplaysRequest;
  readonly idempotent: IdempotentRequest | null;
}

interface Started {
  readonly job: ReplayJob;
  /** False: the same request made this job before. */
  readonly created: boolean;
}

const checkChanges = ({ prices }: JobDeps, { model }: ReplayChanges): void => {
  if (model !== undefined) checkModels(prices, AgentSpec.parse({ model }), 'changes');
};

const earlier = async (
  deps: JobDeps,
  { tenantId }: Principal,
  marks: readonly IdempotencyMark[],
): Promise<Started | null> => {
  if (marks.length === 0) return null;
  const known = await findReplayOfKey(deps.db, tenantId, marks);
  if (known === null) return null;
  if (marks.some(({ fingerprint }) => fingerprint === known.marked_fingerprint))
    return { job: await view(deps, known), created: false };
  throw new SignalboxError(
    'idempotency_mismatch',
    'This Idempotency-Key was used with another body. Use a new key for a new replay.',
  );
};

const insert = async (
  deps: JobDeps,
  { principal, request }: ReplayOrder,
  marks: readonly IdempotencyMark[],
): Promise<StoredReplay | null> => {
  const { filter, compare, mode, max_cost_usd } = request;
  const changes = wellFormedDeep(request.changes as Parameters<typeof wellFormedDeep>[0]) as ReplayChanges;
  const id = newId('rpl');
  const changed = Object.keys(changes);
  const data = { replay_id: id, filter: fieldsOf(filter), changed, mode, max_cost_usd: max_cost_usd ?? null };
  const replay = {
    id,
    tenantId: principal.tenantId,
    createdBy: principal.keyId,
    filter,
    compare,
    mode,
    changed,
    sealedChanges: sealText(deps.keyring, JSON.stringify(changes), replayAad(id)),
    budgetNano: max_cost_usd === undefined ? null : fromUsd(max_cost_usd),
    marks,
  };
  return insertReplay(deps.db, replay, () =>
    recordFact(deps, byKey(principal), { type: 'replay.started', data }),
  );
};

/**
 * The trail comes before the deed (R9). Throws `model_unknown`, `price_unknown`, `idempotency_mismatch`,
 * `rate_limited`: then there is no job. Throws too that a store cannot be reached: then it may be there.
 */
export const startReplayJob = async (deps: JobDeps, order: ReplayOrder): Promise<Started> => {
  const { principal, request, idempotent } = order;
  checkChanges(deps, request.changes);
  const marks = idempotent === null ? [] : idempotencyMarks(deps.keyring, principal.tenantId, idempotent);
  const before = await earlier(deps, principal, marks);
  if (before !== null) return before;
  const job = await insert(deps, order, marks);
  if (job !== null) return { job: await view(deps, job), created: true };
  const meanwhile = await earlier(deps, principal, marks);
  if (meanwhile === null) throw new SignalboxError('internal', 'a replay was refused for a key nobody used');
  return meanwhile;
};

/** Forks that are there go on. Throws `not_found`, `state_unavailable`, `audit_store_unavailable`. */
export const abortReplayJob = async (deps: JobDeps, principal: Principal, id: string): Promise<ReplayJob> => {
  const { tenantId } = principal;
  await abortReplay(deps.db, { tenantId, id }, () =>
    recordFact(deps, byKey(principal), { type: 'replay.aborted', data: { replay_id: id } }),
  );
  return findReplayJob(deps, tenantId, id);
};
