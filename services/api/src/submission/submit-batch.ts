import { z } from '@hono/zod-openapi';
import { type Json, type Principal, Run, RunSubmission, SignalboxError } from '@signalbox/contracts';
import type { ApiDeps } from '../deps.ts';
import pMap from 'p-map';
import { Problem } from '../http/problem.ts';
import { submit } from './submit.ts';
import { parseAs } from '../http/validation.ts';

/**
 * Many runs in one request. Each element is judged alone: one that is refused does not hold up the others, and its
 * answer is a problem in its place.
 */

export const MAX_BATCH = 1000;
/** Submissions under way at once: enough to fill the round trips, few enough to leave room for others. */
const CONCURRENCY = 32;

/** As it is documented; what an element holds is judged later. */
export const SubmitRunsRequest = z.strictObject({ runs: z.array(RunSubmission).min(1).max(MAX_BATCH) });
export const SubmitRunsBody = z.strictObject({ runs: z.array(z.custom<Json>()).min(1).max(MAX_BATCH) });

/** In the order of the elements: a run or what refused it. */
export const SubmittedRuns = z.object({
  data: z.array(
    z.union([z.object({ index: z.int(), run: Run }), z.object({ index: z.int(), problem: Problem })]),
  ),
});

export interface BatchRequest {
  readonly principal: Principal;
  readonly runs: readonly Json[];
  readonly idempotencyKey: string | null;
  readonly traceparent: string | null;
}

/** What became of one element. */
export type Fate = { readonly run: Run } | { readonly refused: unknown };

/** The index belongs to the name: the same batch again finds the same runs. */
const nameOf = (key: string, index: number): string => `POST /v1/runs/batch ${key} ${index}`;

const isRetryable = (fate: Fate): boolean =>
  'refused' in fate && fate.refused instanceof SignalboxError && fate.refused.retryable;

/** One fate per element. Throws when no element could be served for now (`state_unavailable` and the like). */
export const submitBatch = async (deps: ApiDeps, batch: BatchRequest): Promise<Fate[]> => {
  const { principal, idempotencyKey: key, traceparent } = batch;
  const submitOne = async (body: Json, index: number): Promise<Fate> => {
    try {
      const submission = parseAs(RunSubmission, body);
      const idempotent = key === null ? null : { name: nameOf(key, index), body };
      return { run: (await submit(deps, { principal, submission, idempotent, traceparent })).run };
    } catch (refused) {
      return { refused };
    }
  };
  const fates = await pMap(batch.runs, submitOne, { concurrency: CONCURRENCY });
  const [first] = fates;
  if (first !== undefined && 'refused' in first && fates.every(isRetryable)) throw first.refused;
  return fates;
};
