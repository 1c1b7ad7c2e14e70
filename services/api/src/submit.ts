import {
  type EventDraft,
  type Nano,
  newId,
  type Principal,
  type Run,
  type RunSubmission,
} from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD } from '@signalbox/engine';
import { getTenantCaps, getUserCaps, type Partition, sealContent, submitRun } from '@signalbox/run-state';
import { digest, newDataKey, sha256Hex, wellFormedDeep } from '@signalbox/runtime';
import { specText } from './agent-specs.ts';
import { checkModels } from './check-models.ts';
import type { ApiDeps } from './deps.ts';
import { type ResolvedAgent, resolveAgent } from './resolve-agent.ts';
import { type ResolvedLimits, resolveLimits } from './resolve-limits.ts';
import { viewOf } from './run-view.ts';
import { reachingState } from './state-errors.ts';

/**
 * From a valid body to a run (design §5, Submit): agent, price and cap are checked before anything is
 * written; then one script writes the run with its first event, or nothing.
 */
export interface SubmitRequest {
  readonly principal: Principal;
  readonly submission: RunSubmission;
  readonly idempotency: { readonly key: string; readonly fingerprint: string } | null;
  /** W3C traceparent of the submitter, for the spans of the run to link to. */
  readonly traceparent: string | null;
}

export interface Submitted {
  readonly run: Run;
  /** False: the same request made this run before. */
  readonly created: boolean;
}

type SubmitDeps = Pick<
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
>;

/** Null when there is nothing to wait for: a time that has passed is now. */
const dueOf = (runAt: string | null | undefined, nowMs: number): number | null => {
  const dueMs = runAt === null || runAt === undefined ? 0 : Date.parse(runAt);
  return dueMs > nowMs ? dueMs : null;
};

const isoOf = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

interface Draft {
  readonly request: SubmitRequest;
  readonly agent: ResolvedAgent;
  readonly resolved: ResolvedLimits;
  readonly dueMs: number | null;
  readonly specDigest: string;
  readonly refs: { readonly submission: string; readonly spec: string };
}

const submittedEvent = ({ request, agent, resolved, dueMs, specDigest, refs }: Draft): EventDraft => {
  const { principal, submission, traceparent } = request;
  return {
    type: 'run.submitted',
    data: {
      tenant_id: principal.tenantId,
      agent: { name: agent.name, version: agent.version },
      spec_digest: specDigest,
      model: agent.spec.model,
      fallbacks: agent.spec.fallbacks,
      limits: resolved.limits,
      cap_nano: resolved.capNano,
      user_id: submission.user_id ?? null,
      session_id: submission.session_id ?? null,
      parent_run_id: null,
      forked_from: null,
      priority: submission.priority,
      run_at: isoOf(dueMs),
      traceparent,
    },
    refs: { ...refs },
  };
};

const write = async (
  deps: SubmitDeps,
  draft: Omit<Draft, 'specDigest' | 'refs' | 'dueMs'>,
  nowMs: number,
) => {
  const { request, agent, resolved } = draft;
  const { principal, submission, idempotency } = request;
  const runId = newId('run');
  const dataKey = newDataKey();
  const wrappedKey = deps.keyring.wrap(dataKey, runId);
  const said = sealContent(dataKey, runId, { input: submission.input, metadata: submission.metadata });
  const spec = sealContent(dataKey, runId, agent.spec);
  const dueMs = dueOf(submission.run_at, nowMs);
  const event = submittedEvent({
    ...draft,
    dueMs,
    specDigest: digest(dataKey, specText(agent.spec)),
    refs: { submission: said[0], spec: spec[0] },
  });
  const { entries } = appendDrafts(EMPTY_HEAD, [event], {
    runId,
    epoch: 0,
    ts: new Date(nowMs).toISOString(),
    actor: { type: 'user', id: submission.user_id ?? principal.keyId },
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
      idempotency:
        idempotency === null
          ? null
          : {
              keyDigest: sha256Hex(`POST /v1/runs\n${idempotency.key}`),
              fingerprint: idempotency.fingerprint,
            },
      entry: entries.join(''),
      contents: [said, spec],
    },
    { backlogLimit: deps.auditBacklogLimit },
  );
  const run = {
    runId,
    tenantId: principal.tenantId,
    wrappedKey,
    entries,
    contents: new Map([said, spec]),
  };
  return { outcome, run };
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
 * Throws `agent_not_found`, `model_unknown`, `price_unknown`, `cap_missing`, `invalid_request`,
 * `idempotency_mismatch`, `audit_backlog`, or that a store cannot be reached; then nothing was written.
 */
export const submit = async (deps: SubmitDeps, given: SubmitRequest): Promise<Submitted> => {
  const { tenantId } = given.principal;
  // Postgres and Redis scripts cannot hold NUL and lone surrogates: they become U+FFFD, everywhere alike.
  const submission = wellFormedDeep(
    given.submission as Parameters<typeof wellFormedDeep>[0],
  ) as RunSubmission;
  const request = { ...given, submission };
  const agent = await resolveAgent(deps, tenantId, submission.agent);
  checkModels(deps.prices, agent.spec, 'agent');
  const caps = await runCaps(deps.partition, tenantId, submission.user_id);
  const resolved = resolveLimits(agent.spec.limits, submission.limits, caps);
  const { outcome, run } = await write(deps, { request, agent, resolved }, deps.clock.now());
  if (outcome.type === 'exists' && outcome.runId !== run.runId) {
    return { run: viewOf(deps, await deps.runs.find(tenantId, outcome.runId)), created: false };
  }
  if (outcome.type === 'created') {
    // The run is there; if its activation is lost, the scheduler adds it again (R10).
    deps.queue
      .add(outcome.activations)
      .catch((error: unknown) => deps.logger.warn('activation not queued', { run_id: run.runId, error }));
  }
  deps.counters.runSubmitted(agent.name);
  return { run: viewOf(deps, run), created: true };
};
