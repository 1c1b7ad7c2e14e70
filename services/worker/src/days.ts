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

/** One per worker: zones are cached for a minute, since they hardly change. */
export const createDays = (partition: Partition, clock: Clock): ((tenantId: string) => TenantDays) => {
  const zones = new Map<string, { zone: TenantZone; until: number }>();
  const zoneOf = async (tenantId: string): Promise<TenantZone> => {
    const known = zones.get(tenantId);
    if (known !== undefined && clock.monotonic() < known.until) return known.zone;
    const zone = await zoneFrom(partition, tenantId, clock);
    zones.set(tenantId, { zone, until: clock.monotonic() + ZONE_TTL_MS });
    return zone;
  };
  return (tenantId) => ({
    today: async () => tenantDay(await zoneOf(tenantId), clock.now()),
  });
};
