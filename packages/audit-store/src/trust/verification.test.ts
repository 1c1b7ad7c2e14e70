import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import fc from 'fast-check';
import { sql } from 'kysely';
import {
  claimed,
  completed,
  expired,
  journalOf,
  recordOf,
  requested,
  submitted,
  TENANT,
} from '../../test/journal.ts';
import { pagesRead, settle } from '../../test/pages-read.ts';
import { commitsOf, deal, journalOfPlan, plan } from '../../test/plans.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { readStoredRuns, type StoredRunHead, sumSpendByDay, sumSpendByRoot } from './verification.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

/** A run of a tree, stored, with its calls: what each cost, null while it is open. */
const spender = async (rootRunId: string | null, costs: readonly (number | null)[]): Promise<string> => {
  const runId = newId('run');
  const calls = costs.flatMap((nano, n) => {
    const call = { runId, step: n + 1 };
    return nano === null ? [requested(call)] : [requested(call), completed({ ...call, nano })];
  });
  const { entries } = journalOf(runId, [submitted(), claimed(), ...calls]);
  await writeBatch(db, [recordOf(runId, entries, { rootRunId: rootRunId ?? runId })]);
  return runId;
};

const MB = 1_000_000;

/** A run, stored, whose journal and sealed content take at least so much. */
const storeSized = async ({ journal = 0, content = 0, tenantId = TENANT }): Promise<StoredRunHead> => {
  const runId = newId('run');
  const message = 'm'.repeat(journal * MB);
  const { entries } = journalOf(runId, [
    submitted({ tenant_id: tenantId }),
    { type: 'run.failed', data: { code: 'timeout', message } },
  ]);
  const contents = [['sha256:submission', Buffer.alloc(content * MB).toString('base64')]] as const;
  await writeBatch(db, [recordOf(runId, entries, { tenantId, contents })]);
  return { runId, tenantId, rootRunId: runId, seq: entries.length };
};

describe('readStoredRuns', () => {
  test('page by page: what fits into memory beside each other, a larger run alone, each run once', async () => {
    const sizes = [
      [{ content: 3 }, { content: 1, journal: 3 }],
      [{ journal: 4 }],
      [{ content: 9 }],
      [{}, { content: 1 }, {}],
    ];
    const wanted: StoredRunHead[][] = [];
    for (const page of sizes) wanted.push(await Promise.all(page.map(storeSized)));
    const pages: string[][] = [];
    for await (const runs of readStoredRuns(db, wanted.flat())) {
      pages.push(runs.map(({ runId }) => runId));
      for (const { entries, contents } of runs) assert.deepEqual([entries.length, contents.size], [2, 1]);
    }
    assert.deepEqual(
      pages,
      wanted.map((page) => page.map(({ runId }) => runId)),
    );
  });

  test('runs of any tenant, those of each as a page of its own; what is not stored is left out', async () => {
    const [first, second] = [await storeSized({}), await storeSized({})];
    const theirs = await storeSized({ tenantId: 'other' });
    const unknown = { ...first, runId: newId('run') };
    const pages: string[][] = [];
    for await (const runs of readStoredRuns(db, [first, theirs, unknown, second]))
      pages.push(runs.map(({ runId }) => runId));
    assert.deepEqual(pages, [[first.runId, second.runId], [theirs.runId]]);
  });
});

const DAYS = 50;

/** Days on which each of a thousand tenants made two calls in a run; every second run is a child of the one before. */
const storeDays = async (): Promise<void> => {
  await sql`
    insert into cost_ledger (hold_id, tenant_id, run_id, root_run_id, step, attempt, provider, model, day, held_nano,
      observed_nano, state, settled_seq)
    select 'days:' || n, 'tenant_' || n / 2 % 1000, 'run_days_' || n / 2, 'run_days_' || n / 4 * 2, n % 2, 1, 'mock',
      'mock/echo', date '2020-01-01' + n / 2000, 5, 3, 'settled', 4
    from generate_series(0, ${DAYS} * 2000 - 1) n`.execute(db);
  await sql`
    insert into daily_costs (tenant_id, day, user_id, agent, model, observed_nano, calls)
    select tenant_id, day, '', '', model, sum(observed_nano), count(*)
    from cost_ledger where hold_id like 'days:%' group by 1, 2, 3, 4, 5 order by 2, 1`.execute(db);
  for (const table of ['cost_ledger', 'daily_costs']) await settle(db, table);
};

describe('sumSpendByRoot', () => {
  test('what the runs of a tree have settled; a child is no tree of its own', async () => {
    const root = await spender(null, [10, null]);
    const child = await spender(root, [200, 3000]);
    const alone = await spender(null, [7]);
    const open = await spender(null, [null]);
    const sums = await sumSpendByRoot(db, [root, child, alone, open, newId('run')]);
    assert.deepEqual(
      sums,
      new Map([
        [root, 3210],
        [alone, 7],
      ]),
    );
    assert.deepEqual(await sumSpendByRoot(db, []), new Map());
  });

  test('reads the calls of these trees, not all there ever were', async () => {
    await storeDays();
    const roots = Array.from({ length: 10 }, (_, n) => `run_days_${n * 200}`);
    const pages = await pagesRead(db, async (counted) => {
      assert.deepEqual(await sumSpendByRoot(counted, roots), new Map(roots.map((root) => [root, 12])));
    });
    assert.ok(pages < 200, `${pages} pages`);
  });
});

describe('sumSpendByDay', () => {
  test('by day and user, from a day on, of the tenants of a partition', async () => {
    const tenantId = 'elsewhere';
    await sql`insert into tenants (id, partition) values (${tenantId}, 5)`.execute(db);
    const runId = newId('run');
    const on = (step: number, day: string, nano: number) => ({ runId, step, day, nano });
    const { entries } = journalOf(runId, [
      submitted({ tenant_id: tenantId }),
      claimed(),
      ...[on(1, '2026-03-01', 1), on(2, '2026-03-02', 20), on(3, '2026-03-02', 300)].flatMap((call) => [
        requested(call),
        completed(call),
      ]),
      requested(on(4, '2026-03-03', 4000)),
      expired(on(4, '2026-03-03', 4000)),
      completed(on(4, '2026-03-03', 3999)),
      requested(on(5, '2026-03-04', 50_000)),
    ]);
    await writeBatch(db, [recordOf(runId, entries, { tenantId, userId: null })]);
    const sums = await sumSpendByDay(db, { partition: 5, sinceDay: '2026-03-02' });
    assert.deepEqual(
      new Map(sums.map(({ userId, day, spentNano }) => [`${userId} ${day}`, spentNano])),
      new Map([
        [' 2026-03-02', 320],
        [' 2026-03-03', 3999],
      ]),
    );
    assert.deepEqual(await sumSpendByDay(db, { partition: 6, sinceDay: '2026-03-02' }), []);
  });

  test('is what the ledger says, whichever part of the journals is stored and in whatever order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(plan, { minLength: 1, maxLength: 3 }),
        fc.array(fc.nat(1000), { minLength: 5, maxLength: 20 }),
        async (plans, seeds) => {
          await sql`truncate daily_costs, cost_ledger`.execute(db);
          const records = plans.flatMap((each) => commitsOf(journalOfPlan(each), each.user));
          for (const batch of deal(records, seeds)) {
            await writeBatch(db, batch);
            const { rows: ledger } = await sql<{ day: string; user_id: string; spent: number }>`
              select day, coalesce(user_id, '') as user_id, sum(observed_nano)::bigint as spent from cost_ledger
              where day >= '2026-11-02' and observed_nano is not null group by 1, 2
              having sum(observed_nano) <> 0 order by 1, 2`.execute(db);
            const days = await sumSpendByDay(db, { partition: 0, sinceDay: '2026-11-02' });
            const spent = days
              .filter(({ spentNano }) => spentNano !== 0)
              .map(({ day, userId, spentNano }) => ({ day, user_id: userId, spent: spentNano }))
              .toSorted((a, b) => (a.day + a.user_id < b.day + b.user_id ? -1 : 1));
            assert.deepEqual(spent, ledger);
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  test('reads the days asked for, not all there ever were', async () => {
    await sql`truncate daily_costs, cost_ledger`.execute(db);
    await storeDays();
    const pages = await pagesRead(db, async (counted) => {
      const sums = await sumSpendByDay(counted, { partition: 0, sinceDay: '2020-02-19' });
      assert.deepEqual([sums.length, new Set(sums.map(({ spentNano }) => spentNano))], [1000, new Set([6])]);
    });
    assert.ok(pages < 200, `${pages} pages`);
  });
});
