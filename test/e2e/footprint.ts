import type { System } from './stack.ts';

const TABLES = [
  'tenants',
  'api_keys',
  'agents',
  'agent_versions',
  'runs',
  'audit_events',
  'run_keys',
  'contents',
  'audit_quarantine',
  'cost_ledger',
  'daily_costs',
] as const;

/** The queue's own housekeeping and who leads come and go without anybody's request; requests are counted by key and tenant. */
const OTHERS = /:(activations|leader|lease|leases|slots|rate|tenant-rate)/;

const allKeys = async ({ redis, root }: System['partition']): Promise<string[]> => {
  const keys = new Set<string>();
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${root}*`, 'COUNT', 1000);
    for (const key of found) keys.add(key);
    cursor = next;
  } while (cursor !== '0');
  return [...keys].filter((key) => !OTHERS.test(key)).toSorted();
};

/** What is stored where: every key of run state and the rows of every table. */
export const keysAndRows = async (
  system: System,
): Promise<{ readonly keys: string[]; readonly rows: Record<string, number> }> => {
  const counts = await Promise.all(
    TABLES.map(async (table) => {
      const { rows } = await system.db
        .selectFrom(table)
        // Who asked is written down, whatever the answer.
        .$if(table === 'audit_events', (query) => query.where('category', '<>', 'admin'))
        .select(({ fn }) => fn.countAll<number>().as('rows'))
        .executeTakeFirstOrThrow();
      return [table, rows] as const;
    }),
  );
  return { keys: await allKeys(system.partition), rows: Object.fromEntries(counts) };
};
