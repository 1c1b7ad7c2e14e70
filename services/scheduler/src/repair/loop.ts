import { SignalboxError } from '@signalbox/contracts';
import type { Leadership } from '@signalbox/run-state';
import { backoffMs, type Heartbeat, type Trouble } from '@signalbox/runtime';
import { keepRounds } from './rounds.ts';
import { isFull, tick, type TickDeps } from './tick.ts';

export interface LoopDeps extends TickDeps {
  readonly leadership: Leadership;
  /** Makes an untrusted partition trusted again. */
  readonly verify: () => Promise<unknown>;
  /** Beats at each round, leading or not; rests during a verification, which takes as long as there are runs. */
  readonly heart: Pick<Heartbeat, 'beat' | 'rest'>;
  /** Told of each round that fails, and of each that does not: a Redis that answers may still refuse every write. */
  readonly trouble: Pick<Trouble, 'met' | 'over'>;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const TICK_MS = 250;
const RETRY = { baseMs: TICK_MS, capMs: 5_000 };

/** True: there is more to do at once. A partition whose data is not verified is verified first (Trust). */
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
export const runLoop = (deps: LoopDeps, stopping: AbortSignal): Promise<void> => {
  const { leadership, clock, logger, random, heart, trouble } = deps;
  return keepRounds(
    {
      clock,
      round: async () => {
        heart.beat();
        const more = (await leadership.hold()) && (await work(deps));
        trouble.over();
        return more ? 0 : TICK_MS;
      },
      failed: (error, failures) => {
        trouble.met(error);
        logger.warn('tick failed', { error, failures });
        return backoffMs(failures, { ...RETRY, random });
      },
      recovered: (failures) => logger.info('working again', { failures }),
    },
    stopping,
  );
};
