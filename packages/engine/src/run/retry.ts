import type { EventData } from '@signalbox/contracts';
import type { RunState } from './state.ts';

/** Attempts on one model before the next fallback is taken. */
export const MAX_ATTEMPTS_PER_MODEL = 3;

/** A provider that asks us to stay away for longer is not waited for while there is a fallback. */
export const LONGEST_AWAY_MS = 30_000;

export interface Failure {
  readonly retryable: boolean;
  /** How long the provider asked us to stay away, in milliseconds; 0 when it did not say. */
  readonly awayMs: number;
  /** The worker ended the call itself: for the run (an abort, a time limit), or because it must go. */
  readonly stopped: 'for_run' | 'for_worker' | null;
}

/** What follows a failed model call; the choice is recorded in `llm.failed.decision` (Replay). */
export const decideRetry = (state: RunState, failure: Failure): EventData<'llm.failed'>['decision'] => {
  if (failure.stopped === 'for_worker') return 'retry';
  if (failure.stopped === 'for_run') return 'give_up';
  const hasFallback = state.modelIndex < state.submitted.fallbacks.length;
  if (hasFallback && failure.awayMs > LONGEST_AWAY_MS) return 'fallback';
  if (failure.retryable && state.failures + 1 < MAX_ATTEMPTS_PER_MODEL) return 'retry';
  return hasFallback ? 'fallback' : 'give_up';
};
