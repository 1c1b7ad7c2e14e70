import { type Entry, SignalboxError } from '@signalbox/contracts';
import { Bell } from './bell.ts';
import type { ApiDeps } from '../deps.ts';
import { isEnd, lastSeqOf, lastTypeOf } from './entries.ts';
import type { ShownRun } from './run-views.ts';
import { watchRun } from './watch-run.ts';

type AwaitDeps = Pick<ApiDeps, 'runs' | 'views' | 'tail' | 'partition' | 'clock' | 'closing' | 'openAnswers'>;

export interface AwaitRequest {
  readonly tenantId: string;
  readonly runId: string;
  readonly seconds: number;
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal;
}

/** A hint may be lost, so we also look by ourselves. */
const LOOK_EVERY_MS = 1000;
const PAGE = 1000;

/** What was added behind `after`; nothing while run state cannot be reached, since waiting may outlast that. */
const added = async (deps: AwaitDeps, request: AwaitRequest, after: number): Promise<readonly Entry[]> => {
  try {
    return await deps.runs.entries(request.tenantId, { runId: request.runId, after, limit: PAGE });
  } catch (error) {
    if (error instanceof SignalboxError && error.retryable) return [];
    throw error;
  }
};

/** Behind what was shown of the run already. */
const untilEnd = async (deps: AwaitDeps, request: AwaitRequest, shown: ShownRun): Promise<void> => {
  const { clock, closing } = deps;
  const deadline = clock.monotonic() + request.seconds * 1000;
  const bell = new Bell();
  const gone = AbortSignal.any([request.signal, closing]);
  gone.addEventListener('abort', bell.ring, { once: true });
  let ended = false;
  const onEnd = (): void => {
    ended = true;
    bell.ring();
  };
  const unwatch = watchRun(deps.tail.watchEnd(deps.partition, request.runId, onEnd), bell.ring);
  try {
    let { seq } = shown;
    for (let left = request.seconds * 1000; left > 0 && !gone.aborted; left = deadline - clock.monotonic()) {
      await bell.wait(clock, Math.min(left, LOOK_EVERY_MS));
      if (ended) break;
      const entries = await added(deps, request, seq);
      seq = Math.max(seq, lastSeqOf(entries));
      if (isEnd(lastTypeOf(entries))) break;
    }
  } finally {
    unwatch();
    gone.removeEventListener('abort', bell.ring);
  }
};

/**
 * Resolves when the run has ended, the time is over, or nobody waits any more. Throws `rate_limited`, and like
 * `RunViews.show`.
 */
export const awaitEnd = async (deps: AwaitDeps, request: AwaitRequest): Promise<ShownRun> => {
  const { tenantId, runId, seconds } = request;
  const shown = await deps.views.show(tenantId, runId);
  if (seconds === 0 || shown.view.finished_at !== null) return shown;
  deps.openAnswers.assertRoom(tenantId);
  const close = deps.openAnswers.open(tenantId);
  try {
    await untilEnd(deps, request, shown);
  } finally {
    close();
  }
  return deps.views.show(tenantId, runId);
};
