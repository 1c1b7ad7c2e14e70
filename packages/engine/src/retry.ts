import type { EventData } from '@signalbox/contracts';
import type { RunState } from './state.ts';

/** Attempts on one model before the next fallback is taken. */
export const MAX_ATTEMPTS_PER_MODEL = 3;

export interface Failure {
  readonly retryable: boolean;
  /** The worker ended the call itself: for the run (an abort, a time limit), or because it must go. */
  readonly stopped: 'for_run' | 'for_worker' | null;
}

/** What follows a failed model call; the choice is recorded in `llm.failed.decision` (design §5, Replay). */
export const decideRetry = (state: RunState, failure: Failure): EventData<'llm.failed'>['decision'] => {
  if (failure.stopped === 'for_worker') return 'retry';
  if (failure.stopped === 'for_run') return 'give_up';
  if (failure.retryable && state.failures + 1 < MAX_ATTEMPTS_PER_MODEL) return 'retry';
  return state.modelIndex < state.submitted.fallbacks.length ? 'fallback' : 'give_up';
};
