import {
  type Entry,
  type EventData,
  type EventDraft,
  type LimitsInput,
  type Nano,
  newId,
  type Principal,
  type RunSubmission,
  type SealedContent,
  type SubmissionContent,
} from '@signalbox/contracts';
import type { NewRun, RunState } from '@signalbox/engine';
import { sealContent } from '@signalbox/run-state';
import { digest, type Keyring, newDataKey, type SealingKey, sealingKey } from '@signalbox/runtime';
import type { ResolvedAgent } from '../agents/resolve-agent.ts';
import type { IdempotentRequest } from './idempotency.ts';
import type { ResolvedLimits } from './resolve-limits.ts';

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

/** Sealing under the new run's key. */
export interface Sealer {
  readonly runId: string;
  readonly wrappedKey: string;
  readonly dataKey: SealingKey;
  readonly seal: (value: unknown) => SealedContent;
}

export const newSealer = (keyring: Keyring): Sealer => {
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
  readonly ts: string;
} & Pick<EventData<'run.submitted'>, 'spec_digest' | 'idempotency'>;

const isoOf = (ms: number | null): string | null => (ms === null ? null : new Date(ms).toISOString());

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

export const saidIn = ({ input, metadata }: RunPlan['submission']): SubmissionContent => ({
  input,
  metadata,
});

/** The new run as it begins: its first events, and all that was said, sealed. */
export const beginRun = (plan: RunPlan, { runId, dataKey, seal }: Sealer, draft: Draft) => {
  const { principal, agent, submission } = plan;
  const said = seal(saidIn(submission));
  const spec = seal(agent.spec);
  const begun = plan.begin({
    submitted: submittedEvent(draft, { submission: said[0], spec: spec[0] }),
    input: submission.input,
    context: {
      runId,
      epoch: 0,
      ts: draft.ts,
      // Who asked; for whom is user_id.
      actor: { type: 'user', id: principal.keyId },
    },
    digest: (text) => digest(dataKey, text),
    seal,
  });
  return { ...begun, contents: [said, spec, ...begun.contents] };
};
