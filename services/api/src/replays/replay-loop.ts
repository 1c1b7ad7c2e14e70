import { backoffMs, pause } from '@signalbox/runtime';
import { replayTurn, type TurnDeps } from './replay-turn.ts';

const IDLE_MS = 500;
const RETRY = { baseMs: IDLE_MS, capMs: 10_000 };

export interface LoopDeps extends TurnDeps {
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Turn after turn while jobs are open; looks for one twice a second. Ends after `stopping`. Never rejects. */
export const runReplays = async (deps: LoopDeps, stopping: AbortSignal): Promise<void> => {
  const { clock, logger, random } = deps;
  let failures = 0;
  while (!stopping.aborted) {
    let pauseMs = 0;
    try {
      if (!(await replayTurn(deps, stopping))) pauseMs = IDLE_MS;
      failures = 0;
    } catch (error) {
      failures += 1;
      pauseMs = backoffMs(failures, { ...RETRY, random });
      logger.warn('replays are held up', { error, failures });
    }
    if (pauseMs > 0) await pause(clock, pauseMs, stopping);
  }
};
