import { SignalboxError } from '@signalbox/contracts';
import { backoffMs, type Clock, pause } from '@signalbox/runtime';
import type { Identity } from '../lease/lease-keeper.ts';

/** Redis is away or refuses for now: waiting helps, and no run fails of it. A bug in a script is neither. */
export const isStateAway = (error: unknown): boolean =>
  error instanceof SignalboxError && (error.code === 'state_unavailable' || error.code === 'state_untrusted');

const RETRY = { baseMs: 50, capMs: 1000, random: Math.random };

/** Who asks run state for something before it goes on with its run. */
export interface Asking {
  readonly clock: Clock;
  /** `checkLease` throws `RunLostError` once the lease is over. */
  readonly session: { readonly identity: Pick<Identity, 'lost'>; checkLease(): void };
}

/** Asks until run state answers. Throws what waiting does not help, and `RunLostError` once the lease is over (R4). */
export const untilStateAnswers = async <T>({ clock, session }: Asking, ask: () => Promise<T>): Promise<T> => {
  for (let attempt = 1; ; attempt += 1) {
    session.checkLease();
    try {
      return await ask();
    } catch (error) {
      if (!isStateAway(error)) throw error;
      await pause(clock, backoffMs(attempt, RETRY), session.identity.lost);
    }
  }
};
