import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { sql } from 'kysely';
import {
  actualDays,
  actualRun,
  commitsOf,
  deal,
  expectedDays,
  expectedRun,
  journalOfPlan,
  plan,
} from '../../test/plans.ts';
import { TENANT } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { verifyAudit } from '../audit/verify-audit.ts';
import { writeBatch } from './write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

test('projections equal the fold of the journal, in whatever order, grouping and repetition it arrives', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(plan, { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(1000), { minLength: 5, maxLength: 20 }),
      async (plans, seeds) => {
        // truncate is refused on audit_events, and its runs are new ones each time anyway
        await sql`truncate daily_costs, cost_ledger`.execute(db);
        const journals = plans.map(journalOfPlan);
        const records = journals.flatMap((journal, index) => commitsOf(journal, plans[index]?.user ?? false));
        let inserted = 0;
        const heads = new Map<string, { seq: number; terminal: boolean }>();
        for (const batch of deal(records, seeds)) {
          const result = await writeBatch(db, batch);
          assert.deepEqual(result.quarantined, []);
          inserted += result.inserted;
          for (const [id, head] of result.heads) heads.set(id, head);
        }
        assert.equal(
          inserted,
          journals.reduce((sum, { events }) => sum + events.length, 0),
        );
        for (const [index, journal] of journals.entries()) {
          assert.deepEqual(await actualRun(db, journal.runId), expectedRun(journal));
          assert.equal((await verifyAudit(db, TENANT, journal.runId))?.first_bad, null);
          const terminal = plans[index]?.ending !== 'none';
          assert.deepEqual(heads.get(journal.runId), { seq: journal.events.length, terminal });
        }
        assert.deepEqual(await actualDays(db), expectedDays(journals));
      },
    ),
    { numRuns: 40 },
  );
});
