import { backoffMs } from '@signalbox/runtime';
import type { Leadership } from './leadership.ts';
import { isFull, tick, type TickDeps } from './tick.ts';

export interface LoopDeps extends TickDeps {
  readonly leadership: Leadership;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const TICK_MS = 250;
const RETRY = { baseMs: TICK_MS, capMs: 5_000 };

/**
 * Ticks four times a second while this process leads, at once again after a full tick, and keeps trying while
 * a Redis is away. Ends after `stopping`. Never rejects.
 */
export const runLoop = async (deps: LoopDeps, stopping: AbortSignal): Promise<void> => {
  const { leadership, clock, logger, random } = deps;
  let failures = 0;
  while (!stopping.aborted) {
    let pauseMs = TICK_MS;
    try {
      if ((await leadership.hold()) && isFull(await tick(deps))) pauseMs = 0;
      if (failures > 0) logger.info('working again', { failures });
      failures = 0;
    } catch (error) {
      failures += 1;
      pauseMs = backoffMs(failures, { ...RETRY, random });
      logger.warn('tick failed', { error, failures });
    }
    if (pauseMs > 0) await clock.sleep(pauseMs, stopping).catch(() => undefined);
  }
};
