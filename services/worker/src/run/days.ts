import { SignalboxError } from '@signalbox/contracts';
import { type TenantDay, tenantDay, type TenantZone } from '@signalbox/engine';
import { getTenantCaps, type Partition } from '@signalbox/run-state';
import type { Clock } from '@signalbox/runtime';
import { LRUCache } from 'lru-cache';
import { type Asking, untilStateAnswers } from './state-away.ts';

/** A tenant's day, in its own time zone: a hold counts for the day, and its month, on which it is taken. */
export interface TenantDays {
  /**
   * Never before `knownTime` (RFC 3339), what the store said last: else a run that waited for the day's end would be
   * denied, and wait for it again, until this clock is there too. Waits while Redis is away: a guessed zone would count
   * a hold for another day. Throws `RunLostError`.
   */
  today(asking: Asking, knownTime: string): Promise<TenantDay>;
}

const ZONE_TTL_MS = 60_000;
const UTC: TenantZone = { timeZone: 'UTC', nextTimeZone: null };

const MOST_TENANTS = 10_000;

const zoneFrom = async (partition: Partition, tenantId: string): Promise<TenantZone> => {
  try {
    return await getTenantCaps(partition, tenantId);
  } catch (error) {
    // Without caps the hold is refused anyway, whatever its day. While run state is verified they may come back.
    if (error instanceof SignalboxError && !error.retryable) return UTC;
    throw error;
  }
};

type DayAt = (nowMs: number) => TenantDay;

/** The day of one zone, worked out anew only when it is over (or the clock was set back). */
const dayOf = (zone: TenantZone): DayAt => {
  let known: { day: TenantDay; fromMs: number } | undefined;
  return (now) => {
    if (known === undefined || now < known.fromMs || now >= known.day.dayEndsMs) {
      known = { day: tenantDay(zone, now), fromMs: now };
    }
    return known.day;
  };
};

/** One per worker: zones are cached for a minute, since they hardly change. */
export const createDays = (partition: Partition, clock: Clock): ((tenantId: string) => TenantDays) => {
  const days = new LRUCache<string, { day: DayAt; until: number }>({ max: MOST_TENANTS });
  const daysOf = async (tenantId: string, asking: Asking): Promise<DayAt> => {
    const known = days.get(tenantId);
    if (known !== undefined && clock.monotonic() < known.until) return known.day;
    const day = dayOf(await untilStateAnswers(asking, () => zoneFrom(partition, tenantId)));
    days.set(tenantId, { day, until: clock.monotonic() + ZONE_TTL_MS });
    return day;
  };
  return (tenantId) => ({
    today: async (asking, knownTime) => {
      const day = await daysOf(tenantId, asking);
      return day(Math.max(clock.now(), Date.parse(knownTime)));
    },
  });
};
