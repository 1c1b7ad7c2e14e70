import { sql } from 'kysely';
import type { Db } from '../src/db/pool.ts';

/** Everything the writer writes, as text, to compare two moments. */
export const dumpRows = async (db: Db): Promise<string> => {
  const parts: string[] = [];
  for (const table of [
    'runs',
    'audit_events',
    'run_keys',
    'contents',
    'cost_ledger',
    'daily_costs',
    'audit_quarantine',
  ]) {
    // xmin too: a row that was rewritten with the same values counts as changed.
    const { rows } = await sql<{ row: string }>`
      select t.*::text || ' ' || t.xmin as row from ${sql.table(table)} t order by 1`.execute(db);
    parts.push(table, ...rows.map(({ row }) => row));
  }
  return parts.join('\n');
};
