import { SignalboxError } from '@signalbox/contracts';
import { type TenantDay, tenantDay, type TenantZone } from '@signalbox/engine';
import { getTenantCaps, type Partition } from '@signalbox/run-state';
import { backoffMs, type Clock } from '@signalbox/runtime';

/** A tenant's day, in its own time zone: a hold counts for the day, and its month, on which it is taken. */
export interface TenantDays {
  today(): Promise<TenantDay>;
}

const ZONE_TTL_MS = 60_000;
const UTC: TenantZone = { timeZone: 'UTC', nextTimeZone: null };

const RETRY = { baseMs: 50, capMs: 1000, random: Math.random };

/** Waits while Redis is away: a guessed zone would count a hold for another day. */
const zoneFrom = async (partition: Partition, tenantId: string, clock: Clock): Promise<TenantZone> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await getTenantCaps(partition, tenantId);
    } catch (error) {
      // Without caps the hold is refused anyway, whatever its day. While run state is verified they may come back.
      if (error instanceof SignalboxError && !error.retryable) return UTC;
      await clock.sleep(backoffMs(attempt, RETRY));
    }
  }
};

/** The day of one zone, worked out anew only when it is over (or the clock was set back). */
const dayOf = (zone: TenantZone, clock: Clock): (() => TenantDay) => {
  let known: { day: TenantDay; fromMs: number } | undefined;
  return () => {
    const now = clock.now();
    if (known === undefined || now < known.fromMs || now >= known.day.dayEndsMs) {
      known = { day: tenantDay(zone, now), fromMs: now };
    }
    return known.day;
  };
};

/** One per worker: zones are cached for a minute, since they hardly change. */
export const createDays = (partition: Partition, clock: Clock): ((tenantId: string) => TenantDays) => {
  const days = new Map<string, { day: () => TenantDay; until: number }>();
  const daysOf = async (tenantId: string): Promise<() => TenantDay> => {
    const known = days.get(tenantId);
    if (known !== undefined && clock.monotonic() < known.until) return known.day;
    const day = dayOf(await zoneFrom(partition, tenantId, clock), clock);
    days.set(tenantId, { day, until: clock.monotonic() + ZONE_TTL_MS });
    return day;
  };
  return (tenantId) => ({
    today: async () => (await daysOf(tenantId))(),
  });
};
