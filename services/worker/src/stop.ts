import type { RunContext } from './run-context.ts';

/** Why the worker itself ended a call. */
export type StopReason = 'aborted' | 'timeout' | 'lease_lost';

export interface CallStop {
  readonly signal: AbortSignal;
  /** Null while nothing stopped the call. */
  reason(): StopReason | null;
  dispose(): void;
}

/** Ends a call on an abort of the run, on a lost lease, or after `limitMs`. */
export const callSignal = (
  { aborted, session }: Pick<RunContext, 'aborted' | 'session'>,
  limitMs: number,
): CallStop => {
  const { lost } = session.identity;
  const timeout = new AbortController();
  // A timer may fire up to 1 ms early, and what ended too early for its limit would be tried once more.
  const timer = setTimeout(() => timeout.abort(new Error('time limit')), Math.max(0, limitMs) + 1);
  return {
    signal: AbortSignal.any([aborted, lost, timeout.signal]),
    reason: () => {
      if (lost.aborted) return 'lease_lost';
      if (aborted.aborted) return 'aborted';
      return timeout.signal.aborted ? 'timeout' : null;
    },
    dispose: () => clearTimeout(timer),
  };
};
