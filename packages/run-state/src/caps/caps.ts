import type { Nano } from '@signalbox/contracts';
import type { Partition } from '../redis/partition.ts';

/**
 * Caps as Redis mirrors them, in one hash per tenant that `money.lua` and `permits.lua` read. Postgres is the
 * truth; whoever changes it writes here afterwards (mirror-caps.ts). A cap of money that was never set denies
 * (R1); `null` is "none", and was said so.
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

export const MONEY_FIELDS = {
  runNano: 'run',
  userDailyNano: 'user_daily',
  userMonthlyNano: 'user_monthly',
  tenantDailyNano: 'tenant_daily',
  tenantMonthlyNano: 'tenant_monthly',
} as const;
export const RUNS_FIELDS = { maxRuns: 'max_runs', userMaxRuns: 'user_max_runs' } as const;
export const AMOUNT_FIELDS = { ...MONEY_FIELDS, ...RUNS_FIELDS } as const;
export type AmountName = keyof typeof AMOUNT_FIELDS;

const USER_FIELDS = { dailyNano: 'user', monthlyNano: 'user_month', runNano: 'user_run' } as const;

export const namesOf = <T extends object>(fields: T): (keyof T)[] => Object.keys(fields) as (keyof T)[];

export const USER_AMOUNTS = namesOf(USER_FIELDS);

export const userField = (name: keyof UserCaps, userId: string): string => `${USER_FIELDS[name]}:${userId}`;

export const capsKey = ({ root }: Partition, tenantId: string): string => `${root}:caps:${tenantId}`;

/** What stands in a field for "no cap". */
export const NO_CAP = 'inf';
