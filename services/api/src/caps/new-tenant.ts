import type { NewTenant } from '@signalbox/audit-store';
import type { Partition } from '@signalbox/run-state';
import type { DefaultCaps } from '../deps.ts';

/**
 * A tenant as it begins. Its first key may have made it in Redis alone, so whoever writes something of a tenant into
 * Postgres hands this along.
 */
export const newTenant = (
  { partition, defaultCaps }: { readonly partition: Partition; readonly defaultCaps: DefaultCaps },
  id: string,
): NewTenant & { readonly defaults: DefaultCaps } => ({
  id,
  partition: partition.index,
  timeZone: 'UTC',
  defaults: defaultCaps,
});
