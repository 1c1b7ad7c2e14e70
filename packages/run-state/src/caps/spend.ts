import type { Nano } from '@signalbox/contracts';
import type { Partition } from '../redis/partition.ts';

/** What a scope's counters say, in nano-USD. Only the scripts write them, with the event they belong to (R2). */
export interface Spend {
  readonly spentNano: Nano;
  readonly heldNano: Nano;
}

const readCounter = async ({ redis, root }: Partition, ...key: string[]): Promise<Spend> => {
  const [spent, held] = await redis.hmget(`${root}:spend:${key.join(':')}`, 'spent', 'held');
  return { spentNano: Number(spent ?? 0), heldNano: Number(held ?? 0) };
};

/** Spent and held of a day (`yyyy-mm-dd`, the tenant's) and of its month: of a user, or of the whole tenant. */
export const readSpend = async (
  partition: Partition,
  of: { readonly tenantId: string; readonly userId: string | null; readonly day: string },
): Promise<{ day: Spend; month: Spend }> => {
  const { tenantId, userId, day } = of;
  const month = day.slice(0, 7);
  const counters =
    userId === null
      ? [
          readCounter(partition, 'tenant', tenantId, day),
          readCounter(partition, 'tenant_month', tenantId, month),
        ]
      : [
          readCounter(partition, 'user', tenantId, day, userId),
          readCounter(partition, 'user_month', tenantId, month, userId),
        ];
  const [ofDay, ofMonth] = await Promise.all(counters);
  const zero = { spentNano: 0, heldNano: 0 };
  return { day: ofDay ?? zero, month: ofMonth ?? zero };
};
