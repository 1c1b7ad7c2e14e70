import { SignalboxError } from '@signalbox/contracts';
import { getTenantCaps, type Partition } from '@signalbox/run-state';
import { backoffMs, type Clock } from '@signalbox/runtime';

/** A tenant's day, in its own time zone: a hold counts for the day on which it is taken. */
export interface TenantDays {
  /** yyyy-mm-dd. */
  today(): Promise<string>;
  /** When that day ends, RFC 3339 UTC. */
  endOf(day: string): string;
}

const ZONE_TTL_MS = 60_000;

const dayIn = (zone: string, ms: number): string =>
  new Intl.DateTimeFormat('en-CA', {
    timeZone: zone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
  }).format(ms);

const HOUR_MS = 3_600_000;

/** The first instant after `day` in `zone`, found by bisection: zones shift by odd amounts. */
const endOfDay = (zone: string, day: string): string => {
  const midday = Date.parse(`${day}T12:00:00Z`);
  let inside = midday - 14 * HOUR_MS;
  let outside = midday + 40 * HOUR_MS;
  while (outside - inside > 1) {
    const middle = Math.floor((inside + outside) / 2);
    if (dayIn(zone, middle) <= day) inside = middle;
    else outside = middle;
  }
  return new Date(outside).toISOString();
};

const RETRY = { baseMs: 50, capMs: 1000, random: Math.random };

/** Waits while Redis is away: a guessed zone would count a hold for another day. */
const zoneFrom = async (partition: Partition, tenantId: string, clock: Clock): Promise<string> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return (await getTenantCaps(partition, tenantId)).timeZone;
    } catch (error) {
      // Without caps the hold is refused anyway, whatever its day.
      if (error instanceof SignalboxError) return 'UTC';
      await clock.sleep(backoffMs(attempt, RETRY));
    }
  }
};

/** One per worker: zones are cached for a minute, since they hardly change. */
export const createDays = (partition: Partition, clock: Clock): ((tenantId: string) => TenantDays) => {
  const zones = new Map<string, { zone: string; until: number }>();
  const zoneOf = async (tenantId: string): Promise<string> => {
    const known = zones.get(tenantId);
    if (known !== undefined && clock.monotonic() < known.until) return known.zone;
    const zone = await zoneFrom(partition, tenantId, clock);
    zones.set(tenantId, { zone, until: clock.monotonic() + ZONE_TTL_MS });
    return zone;
  };
  return (tenantId) => ({
    today: async () => dayIn(await zoneOf(tenantId), clock.now()),
    endOf: (day) => endOfDay(zones.get(tenantId)?.zone ?? 'UTC', day),
  });
};
