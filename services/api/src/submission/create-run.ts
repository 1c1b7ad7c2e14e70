import {
  type Entry,
  type EventData,
  type EventDraft,
  type LimitsInput,
  type Nano,
  newId,
  type Principal,
  type Run,
  type RunSubmission,
  type SealedContent,
  type SubmissionContent,
} from '@signalbox/contracts';
import { type NewRun, type RunState, runView, specText } from '@signalbox/engine';
import {
  getTenantCaps,
  getUserCaps,
  type Partition,
  reachingState,
  sealContent,
  submitRun,
} from '@signalbox/run-state';
import { digest, newDataKey, type SealingKey, sealingKey } from '@signalbox/runtime';
import { checkModels } from './check-models.ts';
import { checkOutputSchema } from './check-output-schema.ts';
import type { ApiDeps } from '../deps.ts';
import { idempotencyMarks, type IdempotentRequest } from './idempotency.ts';
import type { ResolvedAgent } from '../agents/resolve-agent.ts';
import { type ResolvedLimits, resolveLimits } from './resolve-limits.ts';
import { viewOf } from '../runs/run-view.ts';

/**
 * Makes a run (design §5, Submit), submitted or forked: price and cap are checked before anything is written; then
 * one script writes the run with its first events, or nothing.
 */
export type CreateDeps = Pick<
  ApiDeps,
  | 'partition'
  | 'queue'
  | 'db'
  | 'runs'
  | 'keyring'
  | 'prices'
  | 'clock'
  | 'logger'
  | 'counters'
  | 'auditBacklogLimit'
  | 'schemas'
>;

/** A run to be made. What came from outside is well-formed text already. */
export interface RunPlan {
  readonly principal: Principal;
  readonly agent: ResolvedAgent;
  readonly submission: Omit<RunSubmission, 'agent' | 'limits'>;
  readonly limits: LimitsInput;
  /** Caps beside the agent's, the tenant's and the user's. */
  readonly caps: readonly (Nano | null)[];
  readonly idempotent: IdempotentRequest | null;
  readonly traceparent: string | null;
  /** Where the body names what is checked here. */
  readonly at: { readonly spec: string; readonly limits: string };
  readonly origin: Pick<EventData<'run.submitted'>, 'forked_from' | 'fork'>;
  /** The first events, `run.submitted` among them, and the contents of the others. */
  readonly begin: (run: NewRun) => {
    readonly entries: readonly Entry[];
    readonly contents: readonly SealedContent[];
    /** What the entries fold to. */
    readonly state: RunState;
  };
}

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

const isoOf = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

/** Sealing under the new run's key. */
interface Sealer {
  readonly runId: string;
  readonly wrappedKey: string;
  readonly dataKey: SealingKey;
  readonly seal: (value: unknown) => SealedContent;
}

const newSealer = (keyring: CreateDeps['keyring']): Sealer => {
  const runId = newId('run');
  const key = newDataKey();
  const dataKey = sealingKey(key);
  return {
    runId,
    wrappedKey: keyring.wrap(key, runId),
    dataKey,
    seal: (value) => sealContent(dataKey, runId, value),
  };
};

type Draft = Pick<RunPlan, 'principal' | 'agent' | 'submission' | 'traceparent' | 'origin'> & {
  readonly resolved: ResolvedLimits;
  readonly dueMs: number | null;
} & Pick<EventData<'run.submitted'>, 'spec_digest' | 'idempotency'>;

const submittedEvent = (draft: Draft, refs: Record<string, string>): EventDraft => {
  const { principal, agent, submission, resolved, origin, idempotency } = draft;
  return {
    type: 'run.submitted',
    data: {
      tenant_id: principal.tenantId,
      agent: { name: agent.name, version: agent.version },
      spec_digest: draft.spec_digest,
      model: agent.spec.model,
      fallbacks: agent.spec.fallbacks,
      limits: resolved.limits,
      cap_nano: resolved.capNano,
      user_id: submission.user_id ?? null,
      session_id: submission.session_id ?? null,
      parent_run_id: null,
      ...origin,
      priority: submission.priority,
      run_at: isoOf(draft.dueMs),
      traceparent: draft.traceparent,
      ...(idempotency === undefined ? {} : { idempotency }),
    },
    refs,
  };
};

const saidIn = ({ input, metadata }: RunPlan['submission']): SubmissionContent => ({ input, metadata });

const write = async (deps: CreateDeps, plan: RunPlan, resolved: ResolvedLimits) => {
  const { principal, agent, submission, idempotent } = plan;
  const nowMs = deps.clock.now();
  const marks = idempotent === null ? [] : idempotencyMarks(deps.keyring, principal.tenantId, idempotent);
  const { runId, wrappedKey, dataKey, seal } = newSealer(deps.keyring);
  const said = seal(saidIn(submission));
  const spec = seal(agent.spec);
  const dueMs = dueOf(submission.run_at, nowMs);
  const draft = {
    ...plan,
    resolved,
    dueMs,
    spec_digest: digest(dataKey, specText(agent.spec)),
    idempotency: marks[0],
  };
  const begun = plan.begin({
    submitted: submittedEvent(draft, { submission: said[0], spec: spec[0] }),
    input: submission.input,
    context: {
      runId,
      epoch: 0,
      ts: new Date(nowMs).toISOString(),
      // Who asked; for whom is user_id.
      actor: { type: 'user', id: principal.keyId },
    },
    digest: (text) => digest(dataKey, text),
    seal,
  });
  const outcome = await submitRun(
    deps.partition,
    {
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
      entries: begun.entries,
      contents: [said, spec, ...begun.contents],
    },
    { backlogLimit: deps.auditBacklogLimit },
  );
  return { outcome, runId, state: begun.state };
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
    return { run: viewOf(deps, await deps.runs.find(tenantId, outcome.runId)), created: false };
  }
  if (outcome.type === 'created') {
    // The run is there; if its activation is lost, the scheduler adds it again (R10).
    deps.queue
      .add(outcome.activations)
      .catch((error: unknown) => deps.logger.warn('activation not queued', { run_id: runId, error }));
  }
  deps.counters.runSubmitted(agent.name);
  return { run: runView(state, { submission: saidIn(submission), output: null }), created: true };
};
