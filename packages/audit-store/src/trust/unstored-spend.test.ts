import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { sql } from 'kysely';
import { commitsOf, deal, journalOfPlan, plan } from '../../test/plans.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { sumUnstoredSpend } from './unstored-spend.ts';
import { sumSpendByDay } from './verification.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

type Sums = Record<string, number>;

const sumUp = (rows: readonly { userId: string; day: string; spentNano: number }[]): Sums => {
  const sums: Sums = {};
  for (const { userId, day, spentNano } of rows) {
    const key = `${userId} ${day}`;
    sums[key] = (sums[key] ?? 0) + spentNano;
  }
  return Object.fromEntries(Object.entries(sums).filter(([, nano]) => nano !== 0));
};

const ledger = () => sumSpendByDay(db, { partition: 0, sinceDay: '2000-01-01' });

async function* streamOf<T>(batches: readonly T[]): AsyncGenerator<T> {
  yield* batches;
}

test('ledger and stream together know all that was spent, whichever part is stored and in whatever order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(plan, { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(1000), { minLength: 5, maxLength: 20 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }),
      async (plans, seeds, stored) => {
        await sql`truncate daily_costs, cost_ledger`.execute(db);
        const records = plans.flatMap((each) => commitsOf(journalOfPlan(each), each.user));
        const batches = deal(records, seeds);
        for (const [n, batch] of batches.entries()) {
          if (stored[n % stored.length] === true) await writeBatch(db, batch);
        }
        const [here, waiting] = [await ledger(), await sumUnstoredSpend(db, streamOf(batches))];
        for (const batch of batches) await writeBatch(db, batch);
        const all = sumUp(await ledger());
        assert.deepEqual(sumUp([...here, ...waiting.days]), all);
        const none = await sumUnstoredSpend(db, streamOf(batches));
        assert.deepEqual(none.days, [], 'once all is stored, nothing is left to add');
      },
    ),
    { numRuns: 40 },
  );
});
