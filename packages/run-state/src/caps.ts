import { MAX_NANO, type Nano, SignalboxError } from '@signalbox/contracts';
import type { Partition } from './partition.ts';
import { assertTrusted } from './trust.ts';

/**
 * Caps as Redis mirrors them, in one hash per tenant that `money.lua` and `queue.lua` read. Postgres is the
 * truth; whoever changes it writes here afterwards. A cap of money that was never set denies (R1); `null` is
 * "none", and was said so.
 */
export interface TenantCaps {
  /** Cap of a run that states none. */
  readonly runNano: Nano | null;
  /** Of each user that has no cap of its own. */
  readonly userDailyNano: Nano | null;
  readonly userMonthlyNano: Nano | null;
  readonly tenantDailyNano: Nano | null;
  readonly tenantMonthlyNano: Nano | null;
  /** Runs of the tenant, and of each of its users, that may be worked on at once. */
  readonly maxRuns: number | null;
  readonly userMaxRuns: number | null;
  /** IANA zone that says when a day begins, now. */
  readonly timeZone: string;
  readonly nextTimeZone: NextTimeZone | null;
}

/** A change of zone waits for a midnight, or a day's cap could be spent before the day came. */
export interface NextTimeZone {
  readonly timeZone: string;
  readonly fromMs: number;
}

/** What is to be written; anything may be left out. */
export type TenantCapsChange = { readonly [K in keyof TenantCaps]?: TenantCaps[K] | undefined };

/** What a new tenant begins with: monthly and concurrency caps are none unless they are named. */
export type TenantCapsStart = TenantCapsChange &
  Pick<TenantCaps, 'runNano' | 'userDailyNano' | 'tenantDailyNano' | 'timeZone'>;

/** A user's own caps. Left out: the tenant's apply. Null: none. */
export interface UserCaps {
  readonly dailyNano?: Nano | null | undefined;
  readonly monthlyNano?: Nano | null | undefined;
  /** Of each run of the user, beside that of the tenant: the smaller counts. */
  readonly runNano?: Nano | null | undefined;
}

export interface UserRef {
  readonly tenantId: string;
  readonly userId: string;
}

const MONEY = {
  runNano: 'run',
  userDailyNano: 'user_daily',
  userMonthlyNano: 'user_monthly',
  tenantDailyNano: 'tenant_daily',
  tenantMonthlyNano: 'tenant_monthly',
} as const;
const RUNS = { maxRuns: 'max_runs', userMaxRuns: 'user_max_runs' } as const;
const AMOUNTS = { ...MONEY, ...RUNS } as const;
type AmountName = keyof typeof AMOUNTS;
const AMOUNT_NAMES = Object.keys(AMOUNTS) as readonly AmountName[];

/** None where nobody said anything. */
const OPEN_BY_DEFAULT: readonly AmountName[] = ['userMonthlyNano', 'tenantMonthlyNano', ...keysOf(RUNS)];

const OF_USER = { dailyNano: 'user', monthlyNano: 'user_month', runNano: 'user_run' } as const;

function keysOf<T extends object>(of: T): (keyof T)[] {
  return Object.keys(of) as (keyof T)[];
}

const capsKey = (partition: Partition, tenantId: string): string => `${partition.root}:caps:${tenantId}`;
const userField = (name: keyof UserCaps, userId: string): string => `${OF_USER[name]}:${userId}`;

const NONE = 'inf';

const encode = (amount: number | null): string => {
  if (amount === null) return NONE;
  if (!Number.isSafeInteger(amount) || amount < 0 || amount > MAX_NANO) {
    throw new SignalboxError(
      'invalid_request',
      `A cap of ${amount} is out of range: a whole number from 0 to ${MAX_NANO} (nano-USD, or runs).`,
    );
  }
  return String(amount);
};

type Fields = [field: string, value: string][];

const amountFields = (caps: TenantCapsChange): Fields =>
  AMOUNT_NAMES.flatMap((name): Fields => {
    const amount = caps[name];
    return amount === undefined ? [] : [[AMOUNTS[name], encode(amount)]];
  });

/** `<zone> <from, epoch ms>`; no zone has a blank in its name. */
const zoneFields = ({ timeZone, nextTimeZone }: TenantCapsChange): Fields => [
  ...(timeZone === undefined ? [] : [['time_zone', timeZone] as [string, string]]),
  ...(nextTimeZone === undefined || nextTimeZone === null
    ? []
    : [['time_zone_next', `${nextTimeZone.timeZone} ${nextTimeZone.fromMs}`] as [string, string]]),
];

const userFields = (userId: string, caps: UserCaps): Fields =>
  keysOf(OF_USER).flatMap((name): Fields => {
    const amount = caps[name];
    return amount === undefined ? [] : [[userField(name, userId), encode(amount)]];
  });

type Transaction = ReturnType<Partition['redis']['multi']>;

const openDefaults = (transaction: Transaction, key: string): void => {
  for (const name of OPEN_BY_DEFAULT) transaction.hsetnx(key, AMOUNTS[name], NONE);
};

const execute = async (transaction: Transaction): Promise<void> => {
  for (const [error] of (await transaction.exec()) ?? []) if (error !== null) throw error;
};

/** Writes what is given; what is left out stays. Null for `nextTimeZone` calls a change off. */
export const setTenantCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCapsChange,
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  const transaction = partition.redis.multi();
  const fields = [...amountFields(caps), ...zoneFields(caps)];
  if (fields.length > 0) transaction.hset(key, new Map(fields));
  if (caps.nextTimeZone === null) transaction.hdel(key, 'time_zone_next');
  openDefaults(transaction, key);
  await execute(transaction);
};

/** Writes defaults where nothing is set yet. */
export const ensureTenantCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCapsStart,
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  const transaction = partition.redis.multi();
  for (const [field, value] of [...amountFields(caps), ...zoneFields(caps)]) {
    transaction.hsetnx(key, field, value);
  }
  openDefaults(transaction, key);
  await execute(transaction);
};

/** Puts a tenant's caps and those of its users in place of whatever is here: for a Redis that lost or aged. */
export const replaceCaps = async (
  partition: Partition,
  tenantId: string,
  caps: TenantCapsChange & { readonly users: readonly (UserCaps & { readonly userId: string })[] },
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  const fields = [
    ...amountFields(caps),
    ...zoneFields(caps),
    ...caps.users.flatMap((user) => userFields(user.userId, user)),
  ];
  const transaction = partition.redis.multi().del(key);
  if (fields.length > 0) transaction.hset(key, new Map(fields));
  openDefaults(transaction, key);
  await execute(transaction);
};

const CAP_NAMES: Record<keyof typeof MONEY, string> = {
  runNano: 'run',
  userDailyNano: 'daily user',
  userMonthlyNano: 'monthly user',
  tenantDailyNano: 'daily tenant',
  tenantMonthlyNano: 'monthly tenant',
};

const decode = (value: string | null | undefined): number | null | undefined => {
  if (value === null || value === undefined) return undefined;
  return value === NONE ? null : Number(value);
};

const known = (amount: number | null | undefined, name: keyof typeof MONEY): Nano | null => {
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

const readFields = ({ redis, ...partition }: Partition, tenantId: string): Promise<(string | null)[]> =>
  redis.hmget(
    capsKey({ redis, ...partition }, tenantId),
    'time_zone',
    'time_zone_next',
    ...AMOUNT_NAMES.map((name) => AMOUNTS[name]),
  );

/** Throws `cap_missing` when a cap of money was never set, `state_untrusted` when it may only be lost. */
export const getTenantCaps = async (partition: Partition, tenantId: string): Promise<TenantCaps> => {
  let fields = await readFields(partition, tenantId);
  if (fields.every((field) => field === null)) {
    await assertTrusted(partition);
    fields = await readFields(partition, tenantId);
  }
  const [timeZone, next, ...values] = fields;
  const amount = (name: AmountName) => decode(values[AMOUNT_NAMES.indexOf(name)]);
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

/** All of a user's own caps: what is left out here is taken away, so that the tenant's apply. */
export const setUserCaps = async (
  partition: Partition,
  { tenantId, userId }: UserRef,
  caps: UserCaps,
): Promise<void> => {
  const key = capsKey(partition, tenantId);
  const transaction = partition.redis
    .multi()
    .hdel(key, ...keysOf(OF_USER).map((name) => userField(name, userId)));
  const fields = userFields(userId, caps);
  if (fields.length > 0) transaction.hset(key, new Map(fields));
  await execute(transaction);
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
