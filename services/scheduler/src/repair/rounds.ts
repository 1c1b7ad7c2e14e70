import { type Clock, pause } from '@signalbox/runtime';

/** The shape of the loops here: round after round until the process stops, each with a pause behind it. */
export interface Rounds {
  readonly clock: Clock;
  /** Answers how long to pause behind it, ms; 0: there is more to do at once. */
  readonly round: () => Promise<number>;
  /** After so many rounds in a row that threw: tells of the last, and answers how long to pause. */
  readonly failed: (error: unknown, failures: number) => number;
  /** After the first round that went well behind so many that threw. */
  readonly recovered?: (failures: number) => void;
}

/** Ends after `stopping` and the round under way. Never rejects. */
export const keepRounds = async (
  { clock, round, failed, recovered }: Rounds,
  stopping: AbortSignal,
): Promise<void> => {
  let failures = 0;
  const next = async (): Promise<number> => {
    try {
      const pauseMs = await round();
      if (failures > 0) recovered?.(failures);
      failures = 0;
      return pauseMs;
    } catch (error) {
      failures += 1;
      return failed(error, failures);
    }
  };
  while (!stopping.aborted) {
    const pauseMs = await next();
    if (pauseMs > 0) await pause(clock, pauseMs, stopping);
  }
};
