import { wellFormed } from '@signalbox/runtime';
import {
  type CapRow,
  fromRows,
  type StoredCaps,
  TENANT,
  TENANT_NAMES,
  USER_NAMES,
  type UserAmounts,
} from './cap-rows.ts';
import { lockCaps } from './caps-lock.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** A user's own caps. Throws `audit_store_unavailable`. */
export const readUserCaps = (db: Db, user: { tenantId: string; userId: string }): Promise<UserAmounts> =>
  reaching(async () => {
    const rows = await db
      .selectFrom('caps')
      .select(['name', 'amount'])
      .where('tenant_id', '=', user.tenantId)
      .where('user_id', '=', wellFormed(user.userId))
      .execute();
    return fromRows(USER_NAMES, rows);
  });

interface TenantRow {
  readonly tenantId: string;
  readonly partition: number;
  readonly timeZone: string;
  readonly next: string | null;
  readonly from: Date | null;
}

const selectTenants = (db: Db) =>
  db
    .selectFrom('tenants')
    .select([
      'id as tenantId',
      'partition',
      'time_zone as timeZone',
      'next_time_zone as next',
      'next_time_zone_from as from',
    ]);

type OwnedRow = CapRow & { readonly tenant_id: string; readonly user_id: string };

const capsOf = ({ next, from, ...tenant }: TenantRow, rows: readonly OwnedRow[]): StoredCaps => {
  const byUser = Map.groupBy(rows, ({ user_id }) => user_id);
  const users = [...byUser].filter(([userId]) => userId !== TENANT);
  return {
    ...tenant,
    ...fromRows(TENANT_NAMES, byUser.get(TENANT) ?? []),
    nextTimeZone: next === null || from === null ? null : { timeZone: next, fromMs: from.getTime() },
    users: users.map(([userId, own]) => ({ userId, ...fromRows(USER_NAMES, own) })),
  };
};

/** The tenant's own caps, without its users'; null when it has none. Throws `audit_store_unavailable`. */
export const readTenantCaps = (db: Db, tenantId: string): Promise<StoredCaps | null> =>
  reaching(async () => {
    const tenant = await selectTenants(db).where('id', '=', tenantId).executeTakeFirst();
    const rows = await db
      .selectFrom('caps')
      .select(['tenant_id', 'user_id', 'name', 'amount'])
      .where('tenant_id', '=', tenantId)
      .where('user_id', '=', TENANT)
      .execute();
    return tenant === undefined || rows.length === 0 ? null : capsOf(tenant, rows);
  });

/**
 * Everything to mirror, tenant by tenant; a tenant without any cap is left out. Inside a transaction no cap
 * is changed or mirrored by others until it ends. Throws `audit_store_unavailable`.
 */
export const listCaps = (db: Db): Promise<StoredCaps[]> =>
  reaching(async () => {
    await lockCaps(db);
    const tenants = await selectTenants(db).orderBy('id').execute();
    const rows = await db.selectFrom('caps').select(['tenant_id', 'user_id', 'name', 'amount']).execute();
    const byTenant = Map.groupBy(rows, ({ tenant_id }) => tenant_id);
    return tenants.flatMap((tenant) => {
      const own = byTenant.get(tenant.tenantId);
      return own === undefined ? [] : [capsOf(tenant, own)];
    });
  });
