/**
 * Caps as they are decided. Who changes one writes here first and mirrors afterwards; the lock on all caps
 * makes the order of the mirrors the order of the changes.
 */
import { isDeepStrictEqual } from 'node:util';
import { wellFormed } from '@signalbox/runtime';
import { sql } from 'kysely';
import {
  type CapRow,
  type StoredCaps,
  TENANT,
  TENANT_NAMES,
  type TenantAmounts,
  toRows,
  USER_NAMES,
  type UserAmounts,
} from './cap-rows.ts';
import { withCapsLocked } from './caps-lock.ts';
import type { Db } from '../db/pool.ts';
import { readTenantCaps, readUserCaps } from './read-caps.ts';
import { reaching } from '../db/store-errors.ts';
import { ensureTenant } from '../tenants/tenants.ts';

export interface CapsChange<T> {
  readonly before: T | null;
  readonly after: T | null;
}
/** Told of a change before it is committed: if it throws, nothing is changed. What changes nothing is not told of. */
type Watch<T> = ((change: CapsChange<T>) => Promise<void>) | undefined;

/** Makes a change between two looks at what it changes. */
const watched = async <T>(
  watch: Watch<T>,
  read: () => Promise<T | null>,
  change: () => Promise<void>,
): Promise<void> => {
  if (watch === undefined) return change();
  const before = await read();
  await change();
  const after = await read();
  if (!isDeepStrictEqual(before, after)) await watch({ before, after });
};

interface Write {
  readonly tenantId: string;
  readonly userId: string;
  readonly rows: readonly CapRow[];
  readonly by: string;
}

const valuesOf = ({ tenantId, userId, rows, by }: Write) =>
  rows.map(({ name, amount }) => ({ tenant_id: tenantId, user_id: userId, name, amount, updated_by: by }));

/** A cap that keeps its value keeps who set it. */
const upsert = async (tx: Db, write: Write): Promise<void> => {
  if (write.rows.length === 0) return;
  await tx
    .insertInto('caps')
    .values(valuesOf(write))
    .onConflict((conflict) =>
      conflict
        .columns(['tenant_id', 'user_id', 'name'])
        .doUpdateSet((eb) => ({
          amount: eb.ref('excluded.amount'),
          updated_by: eb.ref('excluded.updated_by'),
          updated_at: sql<Date>`now()`,
        }))
        .where(sql<boolean>`caps.amount is distinct from excluded.amount`),
    )
    .execute();
};

/** The tenant, and what its caps begin with. */
export interface NewTenant {
  readonly id: string;
  readonly partition: number;
  readonly timeZone: string;
  readonly defaults: TenantAmounts;
}

const ensure = async (tx: Db, { id, partition, timeZone, defaults }: NewTenant): Promise<void> => {
  await ensureTenant(tx, { id, partition, timeZone });
  const rows = toRows(TENANT_NAMES, defaults);
  if (rows.length === 0) return;
  await tx
    .insertInto('caps')
    .values(valuesOf({ tenantId: id, userId: TENANT, rows, by: '' }))
    .onConflict((conflict) => conflict.columns(['tenant_id', 'user_id', 'name']).doNothing())
    .execute();
};

/** Makes the tenant and its caps where they are new. Throws `audit_store_unavailable`. */
export const ensureTenantWithCaps = (db: Db, tenant: NewTenant): Promise<void> =>
  reaching(() => db.transaction().execute((tx) => ensure(tx, tenant)));

export interface ZoneChange {
  readonly timeZone: string;
  readonly now: Date;
  /** When the day ends that is on now, in the zone in force. */
  readonly dayEnd: (timeZone: string) => Date;
}

const changeZone = async (tx: Db, tenantId: string, change: ZoneChange): Promise<void> => {
  const row = await tx
    .selectFrom('tenants')
    .select(['time_zone', 'next_time_zone', 'next_time_zone_from'])
    .where('id', '=', tenantId)
    .executeTakeFirstOrThrow();
  const { next_time_zone: next, next_time_zone_from: from } = row;
  const arrived = next !== null && from !== null && from <= change.now;
  const inForce = arrived ? next : row.time_zone;
  if (!arrived && next === change.timeZone) return;
  const stays = inForce === change.timeZone;
  await tx
    .updateTable('tenants')
    .set({
      time_zone: inForce,
      next_time_zone: stays ? null : change.timeZone,
      next_time_zone_from: stays ? null : change.dayEnd(inForce),
    })
    .where('id', '=', tenantId)
    .execute();
};

export interface TenantCapsUpdate {
  readonly tenant: NewTenant;
  /** What is left out stays. */
  readonly amounts: TenantAmounts;
  readonly zone: ZoneChange | null;
  /** Id of the API key that asked for it. */
  readonly by: string;
  readonly watch?: Watch<StoredCaps>;
}

/** Changes what is given. Throws `audit_store_unavailable`. */
export const saveTenantCaps = (
  db: Db,
  { tenant, amounts, zone, by, watch }: TenantCapsUpdate,
): Promise<void> =>
  withCapsLocked(db, async (tx) => {
    await ensure(tx, tenant);
    const change = async (): Promise<void> => {
      await upsert(tx, { tenantId: tenant.id, userId: TENANT, rows: toRows(TENANT_NAMES, amounts), by });
      if (zone !== null) await changeZone(tx, tenant.id, zone);
    };
    await watched(watch, () => readTenantCaps(tx, tenant.id), change);
  });

export interface UserCapsUpdate {
  readonly tenant: NewTenant;
  readonly userId: string;
  readonly amounts: UserAmounts;
  readonly by: string;
  readonly watch?: Watch<UserAmounts>;
}

/** Changes what is given. Throws `audit_store_unavailable`. */
export const saveUserCaps = (
  db: Db,
  { tenant, userId: given, amounts, by, watch }: UserCapsUpdate,
): Promise<void> =>
  withCapsLocked(db, async (tx) => {
    await ensure(tx, tenant);
    const user = { tenantId: tenant.id, userId: wellFormed(given) };
    const change = () => upsert(tx, { ...user, rows: toRows(USER_NAMES, amounts), by });
    await watched(watch, () => readUserCaps(tx, user), change);
  });

/** Takes a user's own caps away, so that the tenant's apply. Throws `audit_store_unavailable`. */
export const deleteUserCaps = (
  db: Db,
  user: { tenantId: string; userId: string },
  watch?: Watch<UserAmounts>,
): Promise<void> =>
  withCapsLocked(db, async (tx) => {
    const change = async (): Promise<void> => {
      await tx
        .deleteFrom('caps')
        .where('tenant_id', '=', user.tenantId)
        .where('user_id', '=', wellFormed(user.userId))
        .execute();
    };
    await watched(watch, () => readUserCaps(tx, user), change);
  });
