import { SignalboxError } from '@signalbox/contracts';
import type { Leadership } from '@signalbox/run-state';
import { backoffMs, type Heartbeat, pause } from '@signalbox/runtime';
import { isFull, tick, type TickDeps } from './tick.ts';

export interface LoopDeps extends TickDeps {
  readonly leadership: Leadership;
  /** Makes an untrusted partition trusted again. */
  readonly verify: () => Promise<unknown>;
  /** Beats at each round, leading or not; rests during a verification, which takes as long as there are runs. */
  readonly heart: Pick<Heartbeat, 'beat' | 'rest'>;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const TICK_MS = 250;
const RETRY = { baseMs: TICK_MS, capMs: 5_000 };

/** True: there is more to do at once. A partition whose data is not verified is verified first (design §6, Trust). */
const work = async (deps: LoopDeps): Promise<boolean> => {
  try {
    return isFull(await tick(deps));
  } catch (error) {
    if (!(error instanceof SignalboxError && error.code === 'state_untrusted')) throw error;
    deps.heart.rest();
    await deps.verify();
    return true;
  }
};

/**
 * Ticks four times a second while this process leads, at once again after a full tick, and keeps trying while
 * a Redis is away. Ends after `stopping`. Never rejects.
 */
export const runLoop = async (deps: LoopDeps, stopping: AbortSignal): Promise<void> => {
  const { leadership, clock, logger, random, heart } = deps;
  let failures = 0;
  while (!stopping.aborted) {
    let pauseMs = TICK_MS;
    heart.beat();
    try {
      if ((await leadership.hold()) && (await work(deps))) pauseMs = 0;
      if (failures > 0) logger.info('working again', { failures });
      failures = 0;
    } catch (error) {
      failures += 1;
      pauseMs = backoffMs(failures, { ...RETRY, random });
      logger.warn('tick failed', { error, failures });
    }
    if (pauseMs > 0) await pause(clock, pauseMs, stopping);
  }
};
