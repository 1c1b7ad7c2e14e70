import type { Nano, Run } from '@signalbox/contracts';
import { runView, specText } from '@signalbox/engine';
import {
  getTenantCaps,
  getUserCaps,
  giveToQueue,
  type Partition,
  reachingState,
  submitRun,
} from '@signalbox/run-state';
import { digest } from '@signalbox/runtime';
import { beginRun, newSealer, type RunPlan, saidIn } from './begin-run.ts';
import { checkModels } from './check-models.ts';
import { checkOutputSchema } from './check-output-schema.ts';
import type { ApiDeps } from '../deps.ts';
import { idempotencyMarks } from './idempotency.ts';
import type { ResolvedAgent } from '../agents/resolve-agent.ts';
import { type ResolvedLimits, resolveLimits } from './resolve-limits.ts';

/**
 * Makes a run, submitted or forked: price and cap are checked before anything is written; then
 * one script writes the run with its first events, or nothing.
 */

export type CreateDeps = Pick<
  ApiDeps,
  | 'partition'
  | 'queue'
  | 'db'
  | 'views'
  | 'keyring'
  | 'prices'
  | 'clock'
  | 'logger'
  | 'counters'
  | 'auditBacklogLimit'
  | 'schemas'
>;

/** A plan whose agent may still be looked up, so that the caps are asked for in the same round trip. */
export type RunOrder = Omit<RunPlan, 'agent'> & { readonly agent: ResolvedAgent | Promise<ResolvedAgent> };

export interface Created {
  readonly run: Run;
  /** False: the same request made this run before. */
  readonly created: boolean;
}

/** Null when there is nothing to wait for: a time that has passed is now. */
const dueOf = (runAt: string | null | undefined, nowMs: number): number | null => {
  const dueMs = runAt === null || runAt === undefined ? 0 : Date.parse(runAt);
  return dueMs > nowMs ? dueMs : null;
};

const write = async (deps: CreateDeps, plan: RunPlan, resolved: ResolvedLimits) => {
  const { principal, agent, submission, idempotent } = plan;
  const marks = idempotent === null ? [] : idempotencyMarks(deps.keyring, principal.tenantId, idempotent);
  const sealer = newSealer(deps.keyring);
  const { runId, wrappedKey, dataKey } = sealer;
  const nowMs = deps.clock.now();
  const dueMs = dueOf(submission.run_at, nowMs);
  const { entries, contents, state } = beginRun(plan, sealer, {
    ...plan,
    resolved,
    dueMs,
    ts: new Date(nowMs).toISOString(),
    spec_digest: digest(dataKey, specText(agent.spec)),
    idempotency: marks[0],
  });
  const run = {
    runId,
    tenantId: principal.tenantId,
    userId: submission.user_id ?? null,
    agent: agent.name,
    rootRunId: runId,
    priority: submission.priority,
    capNano: resolved.capNano,
    wrappedKey,
    dueMs,
    idempotency: marks,
    entries,
    contents,
  };
  const outcome = await submitRun(deps.partition, run, { backlogLimit: deps.auditBacklogLimit });
  return { outcome, runId, state };
};

/** Caps of a run that are neither its own nor its agent's: the tenant's and the user's. */
const runCaps = (
  partition: Partition,
  tenantId: string,
  userId: string | null | undefined,
): Promise<(Nano | null)[]> =>
  reachingState(async () => {
    const tenants = getTenantCaps(partition, tenantId).then(({ runNano }) => runNano);
    if (userId === null || userId === undefined) return [await tenants];
    const users = getUserCaps(partition, { tenantId, userId }).then(({ runNano }) => runNano ?? null);
    return Promise.all([tenants, users]);
  });

/**
 * Throws `model_unknown`, `price_unknown`, `cap_missing`, `invalid_request`, `idempotency_mismatch`, `audit_backlog`:
 * then nothing was written. Throws too that a store cannot be reached: then the run may be there.
 */
export const createRun = async (deps: CreateDeps, order: RunOrder): Promise<Created> => {
  const { submission } = order;
  const { tenantId } = order.principal;
  const asked = runCaps(deps.partition, tenantId, submission.user_id);
  // Of two refusals the agent's is told.
  asked.catch(() => undefined);
  const plan: RunPlan = { ...order, agent: await order.agent };
  const { agent } = plan;
  checkModels(deps.prices, agent.spec, plan.at.spec);
  // That of a published version was looked at when it was published.
  if (agent.name === null) await checkOutputSchema(deps, agent.spec, { tenantId, at: plan.at.spec });
  const outer = [...(await asked), ...plan.caps];
  const resolved = resolveLimits(agent.spec.limits, plan.limits, { outer, at: plan.at.limits });
  const { outcome, runId, state } = await write(deps, plan, resolved);
  if (outcome.type === 'exists' && outcome.runId !== runId) {
    const { view } = await deps.views.show(tenantId, outcome.runId);
    return { run: view, created: false };
  }
  if (outcome.type === 'created') giveToQueue(deps, outcome.activations);
  deps.counters.runSubmitted(agent.name);
  return { run: runView(state, { submission: saidIn(submission), output: null }), created: true };
};
