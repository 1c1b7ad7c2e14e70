import type { CapName } from '../db/tables.ts';

/** Caps as amounts by name, and as the rows of table `caps`. */

type Amount = number | null;

/** nano-USD, or a number of runs. Left out: not set. Null: none. */
export interface TenantAmounts {
  readonly runNano?: Amount | undefined;
  readonly tenantDailyNano?: Amount | undefined;
  readonly tenantMonthlyNano?: Amount | undefined;
  readonly userDailyNano?: Amount | undefined;
  readonly userMonthlyNano?: Amount | undefined;
  readonly maxRuns?: Amount | undefined;
  readonly userMaxRuns?: Amount | undefined;
}

export interface UserAmounts {
  readonly runNano?: Amount | undefined;
  readonly dailyNano?: Amount | undefined;
  readonly monthlyNano?: Amount | undefined;
}

export interface StoredUserCaps extends UserAmounts {
  readonly userId: string;
}

/** All that Redis mirrors of a tenant's caps. */
export interface StoredCaps extends TenantAmounts {
  readonly tenantId: string;
  readonly partition: number;
  readonly timeZone: string;
  readonly nextTimeZone: { readonly timeZone: string; readonly fromMs: number } | null;
  /** Users with caps of their own. */
  readonly users: readonly StoredUserCaps[];
}

export const TENANT_NAMES = {
  runNano: 'run',
  tenantDailyNano: 'daily',
  tenantMonthlyNano: 'monthly',
  userDailyNano: 'user_daily',
  userMonthlyNano: 'user_monthly',
  maxRuns: 'max_runs',
  userMaxRuns: 'user_max_runs',
} as const satisfies Record<keyof TenantAmounts, CapName>;

export const USER_NAMES = {
  runNano: 'run',
  dailyNano: 'daily',
  monthlyNano: 'monthly',
} as const satisfies Record<keyof UserAmounts, CapName>;

/** `user_id` of the tenant's own caps. */
export const TENANT = '';

export interface CapRow {
  readonly name: CapName;
  readonly amount: Amount;
}

export const toRows = <K extends string>(
  names: Readonly<Record<K, CapName>>,
  amounts: { readonly [P in K]?: Amount | undefined },
): CapRow[] =>
  (Object.keys(names) as K[]).flatMap((key) => {
    const amount = amounts[key];
    return amount === undefined ? [] : [{ name: names[key], amount }];
  });

export const fromRows = <K extends string>(
  names: Readonly<Record<K, CapName>>,
  rows: readonly CapRow[],
): { [P in K]?: Amount } => {
  const amounts: { [P in K]?: Amount } = {};
  for (const key of Object.keys(names) as K[]) {
    const row = rows.find(({ name }) => name === names[key]);
    if (row !== undefined) amounts[key] = row.amount;
  }
  return amounts;
};
