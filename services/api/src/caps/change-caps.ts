import { endOfDayIn, knownZone } from '@signalbox/engine';
import {
  type CapsChange,
  deleteUserCaps,
  readTenantCaps,
  readUserCaps,
  saveTenantCaps,
  saveUserCaps,
  type StoredCaps,
  type UserAmounts,
  type ZoneChange,
  withCapsLocked,
} from '@signalbox/audit-store';
import { fromUsd, type Nano, type Principal, toUsd } from '@signalbox/contracts';
import { reachingState, setTenantCaps, setUserCaps, type UserRef } from '@signalbox/run-state';
import { byKey, type Fields, fieldsOf, recordFact } from '../audit/admin-trail.ts';
import type { TenantCapsRequest, UserCapsRequest } from './caps-schemas.ts';
import { newTenant } from './new-tenant.ts';
import type { ApiDeps } from '../deps.ts';

/**
 * Changes a cap: first Postgres, the truth; then the mirror in Redis, which holds are judged by, written from
 * what Postgres says under the lock on all caps, so that of two changes at once the later one stands in both.
 * A crash between the two leaves the old cap in force while Postgres has the new one: nobody was told that
 * it counts, the same request again mirrors it, and so does the scheduler's next verification of Redis.
 */

export interface CapsDeps
  extends Pick<ApiDeps, 'partition' | 'db' | 'clock' | 'defaultCaps' | 'redactorOf'> {}

const nanoOf = (usd: number | null | undefined): Nano | null | undefined =>
  usd === null || usd === undefined ? usd : fromUsd(usd);

const zoneChange = ({ clock }: CapsDeps, name: string | undefined): ZoneChange | null => {
  const timeZone = name === undefined ? undefined : knownZone(name);
  if (timeZone === undefined) return null;
  const now = clock.now();
  return { timeZone, now: new Date(now), dayEnd: (zone) => new Date(endOfDayIn(zone, now)) };
};

const usdOf = (nano: Nano | null | undefined): number | null | undefined =>
  nano === null || nano === undefined ? nano : toUsd(nano);

const tenantFields = (caps: StoredCaps): Fields =>
  fieldsOf({
    run_usd: usdOf(caps.runNano),
    daily_usd: usdOf(caps.tenantDailyNano),
    monthly_usd: usdOf(caps.tenantMonthlyNano),
    user_daily_usd: usdOf(caps.userDailyNano),
    user_monthly_usd: usdOf(caps.userMonthlyNano),
    max_concurrent_runs: caps.maxRuns,
    max_concurrent_runs_per_user: caps.userMaxRuns,
    time_zone: caps.nextTimeZone?.timeZone ?? caps.timeZone,
  });

const userFields = ({ runNano, dailyNano, monthlyNano }: UserAmounts): Fields =>
  fieldsOf({ run_usd: usdOf(runNano), daily_usd: usdOf(dailyNano), monthly_usd: usdOf(monthlyNano) });

interface Noted<T> {
  readonly userId: string | null;
  readonly view: (caps: T) => Fields;
}

/** Writes the change down before it is committed (R9). */
const noting =
  <T>(deps: CapsDeps, principal: Principal, { userId, view }: Noted<T>) =>
  ({ before, after }: CapsChange<T>): Promise<void> =>
    recordFact(deps, byKey(principal), {
      type: 'caps.changed',
      data: {
        user_id: userId,
        before: before === null ? null : view(before),
        after: after === null ? null : view(after),
      },
    });

const mirrorTenant = ({ db, partition }: CapsDeps, tenantId: string): Promise<void> =>
  withCapsLocked(db, async (tx) => {
    const caps = await readTenantCaps(tx, tenantId);
    if (caps !== null) await reachingState(() => setTenantCaps(partition, tenantId, caps));
  });

const mirrorUser = ({ db, partition }: CapsDeps, user: UserRef): Promise<void> =>
  withCapsLocked(db, async (tx) => {
    const caps = await readUserCaps(tx, user);
    await reachingState(() => setUserCaps(partition, user, caps));
  });

/** Throws that a store cannot be reached; then the change may be in Postgres and is not in force. */
export const changeTenantCaps = async (
  deps: CapsDeps,
  principal: Principal,
  wanted: TenantCapsRequest,
): Promise<void> => {
  const { tenantId, keyId } = principal;
  await saveTenantCaps(deps.db, {
    tenant: newTenant(deps, tenantId),
    amounts: {
      runNano: nanoOf(wanted.run_usd),
      tenantDailyNano: nanoOf(wanted.daily_usd),
      tenantMonthlyNano: nanoOf(wanted.monthly_usd),
      userDailyNano: nanoOf(wanted.user_daily_usd),
      userMonthlyNano: nanoOf(wanted.user_monthly_usd),
      maxRuns: wanted.max_concurrent_runs,
      userMaxRuns: wanted.max_concurrent_runs_per_user,
    },
    zone: zoneChange(deps, wanted.time_zone),
    by: keyId,
    watch: noting(deps, principal, { userId: null, view: tenantFields }),
  });
  await mirrorTenant(deps, tenantId);
};

interface UserChange {
  readonly userId: string;
  readonly wanted: UserCapsRequest;
}

/** Throws like `changeTenantCaps`. */
export const changeUserCaps = async (
  deps: CapsDeps,
  principal: Principal,
  { userId, wanted }: UserChange,
): Promise<void> => {
  const { tenantId, keyId } = principal;
  await saveUserCaps(deps.db, {
    tenant: newTenant(deps, tenantId),
    userId,
    amounts: {
      runNano: nanoOf(wanted.run_usd),
      dailyNano: nanoOf(wanted.daily_usd),
      monthlyNano: nanoOf(wanted.monthly_usd),
    },
    by: keyId,
    watch: noting(deps, principal, { userId, view: userFields }),
  });
  await mirrorUser(deps, { tenantId, userId });
};

/** The tenant's caps apply to the user again. Throws like `changeTenantCaps`. */
export const dropUserCaps = async (deps: CapsDeps, principal: Principal, userId: string): Promise<void> => {
  const user = { tenantId: principal.tenantId, userId };
  await deleteUserCaps(deps.db, user, noting(deps, principal, { userId, view: userFields }));
  await mirrorUser(deps, user);
};
