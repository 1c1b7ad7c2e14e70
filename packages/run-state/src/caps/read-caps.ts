import { type Nano, SignalboxError } from '@signalbox/contracts';
import {
  AMOUNT_FIELDS,
  type AmountName,
  capsKey,
  type MONEY_FIELDS,
  namesOf,
  NO_CAP,
  type TenantCaps,
  type UserCaps,
  userField,
  type UserRef,
} from './caps.ts';
import type { Partition } from '../redis/partition.ts';
import { assertTrusted } from '../trust/trust.ts';

const CAP_NAMES: Record<keyof typeof MONEY_FIELDS, string> = {
  runNano: 'run',
  userDailyNano: 'daily user',
  userMonthlyNano: 'monthly user',
  tenantDailyNano: 'daily tenant',
  tenantMonthlyNano: 'monthly tenant',
};

const decode = (value: string | null | undefined): number | null | undefined => {
  if (value === null || value === undefined) return undefined;
  if (value === NO_CAP) return null;
  // Garbage is no cap, as for the scripts.
  const amount = Number.parseInt(value, 10);
  return String(amount) === value ? amount : undefined;
};

const known = (amount: number | null | undefined, name: keyof typeof MONEY_FIELDS): Nano | null => {
  if (amount !== undefined) return amount;
  throw new SignalboxError(
    'cap_missing',
    `The tenant has no ${CAP_NAMES[name]} cap. Set it (null for none) before runs can spend.`,
  );
};

/** By the server's clock, which all processes share. */
const zones = async (
  { redis }: Partition,
  current: string,
  next: string | null | undefined,
): Promise<Pick<TenantCaps, 'timeZone' | 'nextTimeZone'>> => {
  const [timeZone, from] = (next ?? '').split(' ');
  if (timeZone === undefined || from === undefined) return { timeZone: current, nextTimeZone: null };
  const [seconds] = await redis.time();
  return Number(seconds) * 1000 >= Number(from)
    ? { timeZone, nextTimeZone: null }
    : { timeZone: current, nextTimeZone: { timeZone, fromMs: Number(from) } };
};

const AMOUNTS = namesOf(AMOUNT_FIELDS);

const readFields = (partition: Partition, tenantId: string): Promise<(string | null)[]> =>
  partition.redis.hmget(
    capsKey(partition, tenantId),
    'time_zone',
    'time_zone_next',
    ...AMOUNTS.map((name) => AMOUNT_FIELDS[name]),
  );

/** Throws `cap_missing` when a cap of money was never set, `state_untrusted` when it may only be lost. */
export const getTenantCaps = async (partition: Partition, tenantId: string): Promise<TenantCaps> => {
  let fields = await readFields(partition, tenantId);
  if (fields.every((field) => field === null)) {
    await assertTrusted(partition);
    fields = await readFields(partition, tenantId);
  }
  const [timeZone, next, ...values] = fields;
  const amount = (name: AmountName) => decode(values[AMOUNTS.indexOf(name)]);
  return {
    runNano: known(amount('runNano'), 'runNano'),
    userDailyNano: known(amount('userDailyNano'), 'userDailyNano'),
    userMonthlyNano: known(amount('userMonthlyNano'), 'userMonthlyNano'),
    tenantDailyNano: known(amount('tenantDailyNano'), 'tenantDailyNano'),
    tenantMonthlyNano: known(amount('tenantMonthlyNano'), 'tenantMonthlyNano'),
    maxRuns: amount('maxRuns') ?? null,
    userMaxRuns: amount('userMaxRuns') ?? null,
    ...(await zones(partition, timeZone ?? 'UTC', next)),
  };
};

/** A user's own caps only; for what is undefined the tenant's apply. */
export const getUserCaps = async (
  partition: Partition,
  { tenantId, userId }: UserRef,
): Promise<Required<UserCaps>> => {
  const [daily, monthly, ofRun] = await partition.redis.hmget(
    capsKey(partition, tenantId),
    userField('dailyNano', userId),
    userField('monthlyNano', userId),
    userField('runNano', userId),
  );
  return { dailyNano: decode(daily), monthlyNano: decode(monthly), runNano: decode(ofRun) };
};
