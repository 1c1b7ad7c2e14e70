import { MAX_NANO, type Nano, SignalboxError } from '@signalbox/contracts';
import type { Partition } from './partition.ts';

/** A tenant's caps as Redis mirrors them. `null` means explicitly none; a missing field denies (R1). */
export interface TenantCaps {
  /** Cap of a run that states none. */
  readonly runNano: Nano | null;
  readonly userDailyNano: Nano | null;
  readonly tenantDailyNano: Nano | null;
  /** IANA zone that says when a day begins. */
  readonly timeZone: string;
}

const capsKey = (partition: Partition, tenantId: string): string => `${partition.root}:caps:${tenantId}`;

const encode = (nano: Nano | null): string => {
  if (nano === null) return 'inf';
  if (!Number.isSafeInteger(nano) || nano < 0 || nano > MAX_NANO) {
    throw new SignalboxError(
      'invalid_request',
      `A cap of ${nano} nano-USD is out of range: 0 to ${MAX_NANO}.`,
    );
  }
  return String(nano);
};

const FIELDS = ['run', 'user_daily', 'tenant_daily', 'time_zone'] as const;

const pairs = (caps: TenantCaps): [string, string][] => [
  ['run', encode(caps.runNano)],
  ['user_daily', encode(caps.userDailyNano)],
  ['tenant_daily', encode(caps.tenantDailyNano)],
  ['time_zone', caps.timeZone],
];

export const setTenantCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCaps,
): Promise<void> => {
  await partition.redis.hset(capsKey(partition, tenantId), new Map(pairs(caps)));
};

/** Writes defaults where nothing is set yet. */
export const ensureTenantCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCaps,
): Promise<void> => {
  const pipeline = partition.redis.pipeline();
  for (const [field, value] of pairs(caps)) pipeline.hsetnx(capsKey(partition, tenantId), field, value);
  await pipeline.exec();
};

const decode = (value: string | null | undefined, field: string): Nano | null => {
  if (value === null || value === undefined) {
    throw new SignalboxError(
      'cap_missing',
      `The tenant has no ${field} cap. Set it (null for none) before runs can spend.`,
    );
  }
  return value === 'inf' ? null : Number(value);
};

/** Throws `cap_missing` when a cap was never set. */
export const getTenantCaps = async (partition: Partition, tenantId: string): Promise<TenantCaps> => {
  const [run, userDaily, tenantDaily, timeZone] = await partition.redis.hmget(
    capsKey(partition, tenantId),
    ...FIELDS,
  );
  return {
    runNano: decode(run, 'run'),
    userDailyNano: decode(userDaily, 'daily user'),
    tenantDailyNano: decode(tenantDaily, 'daily tenant'),
    timeZone: timeZone ?? 'UTC',
  };
};

/** Spent and held of a tenant's day, in nano-USD. */
export const readTenantDay = async (
  partition: Partition,
  tenantId: string,
  day: string,
): Promise<{ spentNano: Nano; heldNano: Nano }> => {
  const [spent, held] = await partition.redis.hmget(
    `${partition.root}:spend:tenant:${tenantId}:${day}`,
    'spent',
    'held',
  );
  return { spentNano: Number(spent ?? 0), heldNano: Number(held ?? 0) };
};
