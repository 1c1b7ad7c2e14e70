import { endOfDayIn, knownZone } from '@signalbox/engine';
import {
  deleteUserCaps,
  type NewTenant,
  readTenantCaps,
  readUserCaps,
  saveTenantCaps,
  saveUserCaps,
  type ZoneChange,
  withCapsLocked,
} from '@signalbox/audit-store';
import { fromUsd, type Nano, type Principal } from '@signalbox/contracts';
import { setTenantCaps, setUserCaps, type UserRef } from '@signalbox/run-state';
import type { TenantCapsRequest, UserCapsRequest } from './caps-schemas.ts';
import type { ApiDeps } from './deps.ts';
import { reachingState } from './state-errors.ts';

/**
 * Changes a cap: first Postgres, the truth; then the mirror in Redis, which holds are judged by, written from
 * what Postgres says under the lock on all caps, so that of two changes at once the later one stands in both.
 * A crash between the two leaves the old cap in force while Postgres has the new one: nobody was told that
 * it counts, the same request again mirrors it, and so does the scheduler's next verification of Redis.
 */
export interface CapsDeps extends Pick<ApiDeps, 'partition' | 'db' | 'clock' | 'defaultCaps'> {}

const nanoOf = (usd: number | null | undefined): Nano | null | undefined =>
  usd === null || usd === undefined ? usd : fromUsd(usd);

/** Its first key may have made the tenant in Redis alone. */
const tenantOf = ({ partition, defaultCaps }: CapsDeps, id: string): NewTenant => ({
  id,
  partition: partition.index,
  timeZone: 'UTC',
  defaults: defaultCaps,
});

const zoneChange = ({ clock }: CapsDeps, name: string | undefined): ZoneChange | null => {
  const timeZone = name === undefined ? undefined : knownZone(name);
  if (timeZone === undefined) return null;
  const now = clock.now();
  return { timeZone, now: new Date(now), dayEnd: (zone) => new Date(endOfDayIn(zone, now)) };
};

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
  { tenantId, keyId }: Principal,
  wanted: TenantCapsRequest,
): Promise<void> => {
  await saveTenantCaps(deps.db, {
    tenant: tenantOf(deps, tenantId),
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
  { tenantId, keyId }: Principal,
  { userId, wanted }: UserChange,
): Promise<void> => {
  await saveUserCaps(deps.db, {
    tenant: tenantOf(deps, tenantId),
    userId,
    amounts: {
      runNano: nanoOf(wanted.run_usd),
      dailyNano: nanoOf(wanted.daily_usd),
      monthlyNano: nanoOf(wanted.monthly_usd),
    },
    by: keyId,
  });
  await mirrorUser(deps, { tenantId, userId });
};

/** The tenant's caps apply to the user again. Throws like `changeTenantCaps`. */
export const dropUserCaps = async (deps: CapsDeps, user: UserRef): Promise<void> => {
  await deleteUserCaps(deps.db, user);
  await mirrorUser(deps, user);
};
