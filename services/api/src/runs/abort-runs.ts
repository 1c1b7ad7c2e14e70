import { z } from '@hono/zod-openapi';
import { RUN_FILTER, SignalboxError } from '@signalbox/contracts';
import { type AbortFlag, findLiveRuns, LIVE_STATUSES, requestAbort } from '@signalbox/run-state';
import { wellFormed } from '@signalbox/runtime';
import { byKey, fieldsOf, recordFact } from '../audit/admin-trail.ts';
import type { ApiDeps } from '../deps.ts';
import pMap from 'p-map';
import { endOwnerless } from './end-ownerless.ts';

/** An operator's abort of many runs by filter (Abort). Needs Redis alone. */
export const MAX_ABORTED = 10_000;
const MAX_LISTED = 100;
/** Aborts under way at once: enough to fill the round trips, few enough to leave room for others. */
const CONCURRENCY = 32;

/** As the runs have it: what cannot be stored is replaced there too. */
const label = RUN_FILTER.user_id.unwrap().transform(wellFormed).optional();

const Filter = z
  .strictObject({
    /** Every run that has not ended; stands alone. */
    all: z.literal(true).optional(),
    status: z.enum(LIVE_STATUSES).optional(),
    ...RUN_FILTER,
    user_id: label,
    session_id: label,
  })
  .refine((filter) => Object.keys(filter).length > 0, {
    message: 'an empty filter would stop everything; say {"all": true} if that is meant',
  })
  .refine((filter) => filter.all === undefined || Object.keys(filter).length === 1, {
    message: 'all stands alone, without any other condition',
  });

export const AbortRunsRequest = z.strictObject({
  filter: Filter,
  reason: z.string().max(1000).nullish(),
  dry_run: z.boolean().default(false),
});
export type AbortRunsRequest = z.infer<typeof AbortRunsRequest>;

export const AbortedRuns = z.object({
  dry_run: z.boolean(),
  /** Runs that fit, of this call. */
  matched: z.int(),
  /** Asked to stop now or before. */
  aborted: z.int(),
  already_ended: z.int(),
  /** Runs that fit are left: repeat the call. */
  more: z.boolean(),
  /** The first of the runs that fit, oldest first. */
  data: z.array(z.string()),
});
export type AbortedRuns = z.infer<typeof AbortedRuns>;

type Fate = 'aborted' | 'already_ended' | 'left';

const GONE = ['run_terminal', 'not_found'];

const abortOne = async (
  deps: ApiDeps,
  request: { runId: string; tenantId: string; flag: AbortFlag },
): Promise<Fate> => {
  const { runId } = request;
  try {
    await requestAbort(deps.partition, request);
  } catch (error) {
    if (error instanceof SignalboxError && GONE.includes(error.code)) return 'already_ended';
    if (error instanceof SignalboxError && error.retryable) return 'left';
    throw error;
  }
  await endOwnerless(deps, runId);
  return 'aborted';
};

export interface AbortWish {
  readonly tenantId: string;
  readonly filter: AbortRunsRequest['filter'];
  readonly flag: AbortFlag;
}

const abortAll = async (
  deps: ApiDeps,
  { tenantId, flag }: AbortWish,
  runIds: readonly string[],
): Promise<Record<Fate, number>> => {
  const counts: Record<Fate, number> = { aborted: 0, already_ended: 0, left: 0 };
  // Newest first: what is still queued ends before the running ones leave their slots to it.
  const count = async (runId: string): Promise<void> => {
    counts[await abortOne(deps, { runId, tenantId, flag })] += 1;
  };
  await pMap(runIds.toReversed(), count, { concurrency: CONCURRENCY });
  return counts;
};

/**
 * Throws `state_unavailable` and `state_untrusted` before anything was aborted; later failures leave runs to a repeat.
 */
export const abortRunsBy = async (
  deps: ApiDeps,
  wish: AbortWish,
  { dryRun }: { dryRun: boolean },
): Promise<AbortedRuns> => {
  const query = { filter: wish.filter, limit: MAX_ABORTED };
  const { runIds, more } = await findLiveRuns(deps.partition, wish.tenantId, query);
  if (!dryRun) {
    const data = { filter: fieldsOf(wish.filter), matched: runIds.length, reason: wish.flag.reason };
    await recordFact(deps, byKey({ tenantId: wish.tenantId, keyId: wish.flag.by }), {
      type: 'runs.aborted',
      data,
    });
  }
  const { aborted, already_ended, left } = await abortAll(deps, wish, dryRun ? [] : runIds);
  return {
    dry_run: dryRun,
    matched: runIds.length,
    aborted,
    already_ended,
    more: more || left > 0,
    data: runIds.slice(0, MAX_LISTED),
  };
};
