import { tenantDay } from '@signalbox/engine';
import { type Nano, toUsd } from '@signalbox/contracts';
import {
  getTenantCaps,
  getUserCaps,
  reachingState,
  readSpend,
  type Spend,
  type UserRef,
} from '@signalbox/run-state';
import type { TenantCapsView, UserCapsView } from './caps-schemas.ts';
import type { ApiDeps } from '../deps.ts';

/** Caps and what is left of them, from run state alone: what holds are judged by. */

type CapsDeps = Pick<ApiDeps, 'partition' | 'clock'>;

const usdOf = (nano: Nano | null): number | null => (nano === null ? null : toUsd(nano));
const isoOf = (ms: number): string => new Date(ms).toISOString();

const spending = (capNano: Nano | null, { spentNano, heldNano }: Spend, endsMs: number) => ({
  spent_usd: toUsd(spentNano),
  held_usd: toUsd(heldNano),
  remaining_usd: capNano === null ? null : toUsd(Math.max(0, capNano - spentNano - heldNano)),
  resets_at: isoOf(endsMs),
});

interface Effective {
  readonly runNano: Nano | null;
  readonly dailyNano: Nano | null;
  readonly monthlyNano: Nano | null;
}

const readMoney = async (
  { partition, clock }: CapsDeps,
  of: { tenantId: string; userId: string | null; caps: Awaited<ReturnType<typeof getTenantCaps>> },
  { runNano, dailyNano, monthlyNano }: Effective,
) => {
  const { tenantId, userId, caps } = of;
  const { day, dayEndsMs, monthEndsMs } = tenantDay(caps, clock.now());
  const spend = await readSpend(partition, { tenantId, userId, day });
  return {
    run_usd: usdOf(runNano),
    daily_usd: usdOf(dailyNano),
    monthly_usd: usdOf(monthlyNano),
    time_zone: caps.timeZone,
    day,
    ...spending(dailyNano, spend.day, dayEndsMs),
    month: spending(monthlyNano, spend.month, monthEndsMs),
  };
};

/** Throws `cap_missing`, `state_unavailable`. */
export const viewTenantCaps = (deps: CapsDeps, tenantId: string): Promise<TenantCapsView> =>
  reachingState(async () => {
    const caps = await getTenantCaps(deps.partition, tenantId);
    const next = caps.nextTimeZone;
    return {
      ...(await readMoney(
        deps,
        { tenantId, userId: null, caps },
        {
          runNano: caps.runNano,
          dailyNano: caps.tenantDailyNano,
          monthlyNano: caps.tenantMonthlyNano,
        },
      )),
      max_concurrent_runs: caps.maxRuns,
      user_daily_usd: usdOf(caps.userDailyNano),
      user_monthly_usd: usdOf(caps.userMonthlyNano),
      max_concurrent_runs_per_user: caps.userMaxRuns,
      next_time_zone: next === null ? null : { time_zone: next.timeZone, from: isoOf(next.fromMs) },
    };
  });

/** The user's own caps where it has them, else the tenant's. Throws `cap_missing`, `state_unavailable`. */
export const viewUserCaps = (deps: CapsDeps, { tenantId, userId }: UserRef): Promise<UserCapsView> =>
  reachingState(async () => {
    const [caps, own] = await Promise.all([
      getTenantCaps(deps.partition, tenantId),
      getUserCaps(deps.partition, { tenantId, userId }),
    ]);
    const inherited: UserCapsView['inherited'] = [];
    const choose = (
      ownNano: Nano | null | undefined,
      of: (typeof inherited)[number],
      tenants: Nano | null,
    ) => {
      if (ownNano !== undefined) return ownNano;
      inherited.push(of);
      return tenants;
    };
    const effective = {
      runNano: choose(own.runNano, 'run_usd', caps.runNano),
      dailyNano: choose(own.dailyNano, 'daily_usd', caps.userDailyNano),
      monthlyNano: choose(own.monthlyNano, 'monthly_usd', caps.userMonthlyNano),
    };
    const money = await readMoney(deps, { tenantId, userId, caps }, effective);
    return { user_id: userId, ...money, inherited };
  });
