import { knownZone } from '@signalbox/engine';
import { CapUsd } from '@signalbox/contracts';
import { z } from 'zod';

/** Caps as requests and answers spell them. Amounts in USD; null is none. */

const amount = CapUsd.nullable().optional();
const runs = z.int().min(0).max(1_000_000).nullable().optional();

const MoneyChange = { run_usd: amount, daily_usd: amount, monthly_usd: amount };

export const TenantCapsRequest = z.strictObject({
  ...MoneyChange,
  max_concurrent_runs: runs,
  user_daily_usd: amount,
  user_monthly_usd: amount,
  max_concurrent_runs_per_user: runs,
  time_zone: z
    .string()
    .max(64)
    .refine((name) => knownZone(name) !== undefined, 'expected an IANA time zone such as Europe/Berlin')
    .optional(),
});
export type TenantCapsRequest = z.infer<typeof TenantCapsRequest>;

export const UserCapsRequest = z.strictObject(MoneyChange);
export type UserCapsRequest = z.infer<typeof UserCapsRequest>;

const usd = z.number();
const cap = usd.nullable();

const Spending = {
  spent_usd: usd,
  held_usd: usd,
  /** Null: no cap. */
  remaining_usd: cap,
  resets_at: z.string(),
};

const Money = {
  run_usd: cap,
  daily_usd: cap,
  monthly_usd: cap,
  time_zone: z.string(),
  day: z.string(),
  ...Spending,
  month: z.object(Spending),
};

export const TenantCapsView = z.object({
  ...Money,
  max_concurrent_runs: z.int().nullable(),
  user_daily_usd: cap,
  user_monthly_usd: cap,
  max_concurrent_runs_per_user: z.int().nullable(),
  next_time_zone: z.object({ time_zone: z.string(), from: z.string() }).nullable(),
});
export type TenantCapsView = z.infer<typeof TenantCapsView>;

export const UserCapsView = z.object({
  ...Money,
  user_id: z.string(),
  /** Which of the caps are not the user's own. */
  inherited: z.array(z.enum(['run_usd', 'daily_usd', 'monthly_usd'])),
});
export type UserCapsView = z.infer<typeof UserCapsView>;
