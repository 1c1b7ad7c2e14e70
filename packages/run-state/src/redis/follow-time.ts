import { type Logger, pause, type SharedClock } from '@signalbox/runtime';
import type { Redis } from 'ioredis';

const EVERY_MS = 5000;
/** More than a slow reply explains. */
const FAR_MS = 10_000;

export interface FollowTimeOptions {
  readonly redis: Redis;
  readonly clock: SharedClock;
  readonly logger: Logger;
  readonly stopping: AbortSignal;
}

/**
 * Tells a clock what time it is at the store, where leases and timers are judged: by one time for all, days of caps
 * begin (R1), waits and retries fall due, events are dated. At once, so before what is sent on this connection later,
 * and every few seconds until the process stops. Never rejects.
 */
export const followTime = async ({ redis, clock, logger, stopping }: FollowTimeOptions): Promise<void> => {
  let wasFar = false;
  while (!stopping.aborted) {
    const sentAt = clock.monotonic();
    const time = await redis.time().catch(() => null);
    if (time !== null) clock.told(Number(time[0]) * 1000 + Math.floor(Number(time[1]) / 1000), sentAt);
    const isFar = Math.abs(clock.ownAhead) > FAR_MS;
    if (isFar && !wasFar) {
      logger.warn('the clock of this machine is not that of Redis, which is used: set one of them right', {
        ahead_seconds: Math.round(clock.ownAhead / 1000),
      });
    }
    wasFar = isFar;
    await pause(clock, EVERY_MS, stopping);
  }
};
