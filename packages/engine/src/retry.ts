import type { EventData } from '@signalbox/contracts';
import type { RunState } from './state.ts';

/** Attempts on one model before the next fallback is taken. */
export const MAX_ATTEMPTS_PER_MODEL = 3;

export interface Failure {
  readonly retryable: boolean;
  /** The worker stopped the call itself: an abort, a time limit, a lost lease. */
  readonly stopped: boolean;
}

/** What follows a failed model call; the choice is recorded in `llm.failed.decision` (design §5, Replay). */
export const decideRetry = (state: RunState, failure: Failure): EventData<'llm.failed'>['decision'] => {
  if (failure.stopped) return 'give_up';
  if (failure.retryable && state.failures + 1 < MAX_ATTEMPTS_PER_MODEL) return 'retry';
  return state.modelIndex < state.submitted.fallbacks.length ? 'fallback' : 'give_up';
};
