import { SignalboxError } from '@signalbox/contracts';

/** Runs a read or a small write of run state; what Redis throws becomes `state_unavailable`. */
export const reachingState = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SignalboxError) throw error;
    throw new SignalboxError('state_unavailable', 'Run state cannot be reached. Try again in a moment.', {
      cause: error,
      retryAfter: 1,
    });
  }
};
