import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

export interface Tenant {
  readonly id: string;
  readonly partition: number;
  /** IANA name. */
  readonly timeZone: string;
}

/** Makes the tenant if it is new. Answers it as stored: its partition never changes. Throws `audit_store_unavailable`. */
export const ensureTenant = (db: Db, tenant: Tenant): Promise<Tenant> =>
  reaching(async () => {
    await db
      .insertInto('tenants')
      .values({ id: tenant.id, partition: tenant.partition, time_zone: tenant.timeZone })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .execute();
    const stored = await db
      .selectFrom('tenants')
      .select(['id', 'partition', 'time_zone'])
      .where('id', '=', tenant.id)
      .executeTakeFirstOrThrow();
    return { id: stored.id, partition: stored.partition, timeZone: stored.time_zone };
  });
