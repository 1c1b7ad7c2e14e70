import type { Principal, RunSubmission } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD, fold } from '@signalbox/engine';
import { wellFormedDeep } from '@signalbox/runtime';
import { createRun, type CreateDeps, type Created } from './create-run.ts';
import type { IdempotentRequest } from './idempotency.ts';
import { orRepeated } from './repeated.ts';
import { resolveAgent } from '../agents/resolve-agent.ts';

/** From a valid body to a run: its agent is resolved, then the run is made. */

export interface SubmitRequest {
  readonly principal: Principal;
  readonly submission: RunSubmission;
  readonly idempotent: IdempotentRequest | null;
  /** W3C traceparent of the submitter, for the spans of the run to link to. */
  readonly traceparent: string | null;
}

/** Throws `agent_not_found`, then nothing was written; and like `createRun`. */
export const submit = async (deps: CreateDeps, request: SubmitRequest): Promise<Created> => {
  const { principal, idempotent, traceparent } = request;
  // Postgres and Redis scripts cannot hold NUL and lone surrogates: they become U+FFFD, everywhere alike.
  const submission = wellFormedDeep(
    request.submission as Parameters<typeof wellFormedDeep>[0],
  ) as RunSubmission;
  return orRepeated(deps, request, () =>
    createRun(deps, {
      principal,
      agent: resolveAgent(deps, principal.tenantId, submission.agent),
      submission,
      limits: submission.limits,
      caps: [],
      idempotent,
      traceparent,
      at: { spec: 'agent', limits: 'limits' },
      origin: { forked_from: null },
      begin: ({ submitted, context }) => {
        const { entries, events } = appendDrafts(EMPTY_HEAD, [submitted], context);
        return { entries, contents: [], state: fold(events) };
      },
    }),
  );
};
