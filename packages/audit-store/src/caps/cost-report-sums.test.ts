/** The report adds up what is kept of days; this adds up every call of the ledger. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import fc from 'fast-check';
import { sql } from 'kysely';
import {
  callFailed,
  completed,
  expired,
  journalOf,
  recordOf,
  requested,
  submitted,
} from '../../test/journal.ts';
import { pagesRead, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import { COST_GROUPS, type CostGroup, type CostQuery, type CostRow, sumCosts } from './cost-report.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const tenantId = fc.constantFrom('t1', 't2');
const day = fc.constantFrom('2026-09-30', '2026-10-01', '2026-11-21');

const call = fc.record({
  tenantId,
  userId: fc.constantFrom('a', 'B', 'ä', null),
  agent: fc.constantFrom('support', null),
  model: fc.constantFrom('openai/gpt-4o-mini', 'mock/echo'),
  day,
  nano: fc.constantFrom(0, 1, 70),
  estimated: fc.boolean(),
  /** The second one corrects the first. */
  ends: fc.array(fc.constantFrom(completed, callFailed, expired), { maxLength: 2 }),
  order: fc.constantFrom('together', 'one by one', 'hold last', 'no hold'),
});
type Called = typeof call extends fc.Arbitrary<infer T> ? T : never;

const write = async ({ ends, order, userId, agent, tenantId: tenant, ...cost }: Called): Promise<void> => {
  const at = { runId: newId('run'), step: 1, ...cost };
  const settled = ends.map((end, i) => end({ ...at, nano: at.nano * i }));
  const { entries } = journalOf(at.runId, [submitted(), requested(at), ...settled]);
  const record = (from: number, to?: number) =>
    recordOf(at.runId, entries.slice(from, to), { tenantId: tenant, userId, agent });
  const batches = {
    together: [record(0)],
    'one by one': entries.map((_, i) => record(i, i + 1)),
    'hold last': [record(0, 1), record(2), record(1, 2)],
    'no hold': [record(0, 1), record(2)],
  };
  for (const batch of batches[order]) await writeBatch(db, [batch]);
};

const query: fc.Arbitrary<CostQuery> = fc.record({
  tenantId,
  groupBy: fc.shuffledSubarray([...COST_GROUPS]),
  from: fc.option(day, { nil: undefined }),
  to: fc.option(day, { nil: undefined }),
  limit: fc.integer({ min: 1, max: 5 }),
});

interface Ledger {
  readonly tenant_id: string;
  readonly day: string | null;
  readonly user_id: string | null;
  readonly agent: string | null;
  readonly model: string;
  readonly held_nano: number | null;
  readonly observed_nano: number | null;
  readonly state: string;
  readonly estimated: boolean;
  readonly completed: boolean;
}

const NOTHING: Omit<CostRow, 'group'> = { observedNano: 0, estimatedNano: 0, heldNano: 0, calls: 0 };

const told = (ledger: readonly Ledger[], { tenantId: tenant, groupBy, from, to }: CostQuery): CostRow[] => {
  const asked = ledger.filter(
    (row) =>
      row.tenant_id === tenant && row.day !== null && row.day >= (from ?? '') && row.day <= (to ?? '9'),
  );
  const groups = new Map<string, CostRow>();
  if (groupBy.length === 0) groups.set('', { group: [], ...NOTHING });
  for (const row of asked) {
    const group = groupBy.map((name) => row[name] ?? '');
    const sum = groups.get(group.join('\n')) ?? { group, ...NOTHING };
    const observed = row.observed_nano ?? 0;
    groups.set(group.join('\n'), {
      group,
      observedNano: sum.observedNano + observed,
      estimatedNano: sum.estimatedNano + (row.estimated ? observed : 0),
      heldNano: sum.heldNano + (row.state === 'held' ? (row.held_nano ?? 0) : 0),
      calls: sum.calls + (row.completed ? 1 : 0),
    });
  }
  return [...groups]
    .toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([, sum]) => sum);
};

const pages = async (asked: CostQuery): Promise<CostRow[]> => {
  const rows: CostRow[] = [];
  for (;;) {
    const page = await sumCosts(db, { ...asked, after: rows.at(-1)?.group });
    rows.push(...page);
    if (page.length < asked.limit || asked.groupBy.length === 0) return rows;
  }
};

test('whatever is asked, the report says what the calls of the ledger add up to', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(call, { maxLength: 12 }),
      fc.array(query, { minLength: 4, maxLength: 4 }),
      async (calls, queries) => {
        await sql`truncate daily_costs, cost_ledger`.execute(db);
        for (const one of calls) await write(one);
        const ledger = await db.selectFrom('cost_ledger').selectAll().execute();
        for (const asked of queries) assert.deepEqual(await pages(asked), told(ledger, asked));
      },
    ),
    { numRuns: 20 },
  );
});

test('calls that cost nothing and were not answered are a group of their own', async () => {
  await sql`truncate daily_costs, cost_ledger`.execute(db);
  const groupBy: CostGroup[] = ['day'];
  const free = {
    userId: null,
    agent: null,
    model: 'mock/echo',
    nano: 0,
    estimated: false,
    day: '2026-11-21',
  } as const;
  await write({ ...free, tenantId: 't1', ends: [callFailed], order: 'together' });
  assert.deepEqual(await sumCosts(db, { tenantId: 't1', groupBy, limit: 9 }), [
    { group: ['2026-11-21'], ...NOTHING },
  ]);
});

test('days are read, and not all the calls there were', async () => {
  const tenantId = 'busy';
  const [sums, users, calls, failing] = [60, 10, 30_000, 50];
  await sql`
    insert into cost_ledger (hold_id, tenant_id, user_id, agent, run_id, root_run_id, step, attempt, provider, model,
      day, held_nano, observed_nano, state, completed, settled_seq)
    select 'busy:' || n, ${tenantId}, 'u' || n % ${users}::int, 'support', 'run_' || n, 'run_' || n, 1, 1, 'mock',
      'mock/echo', date '2026-01-01' + n % ${sums}::int, 5, 3, 'settled', n % ${failing}::int <> 0, 4
    from generate_series(1, ${calls}::int) n`.execute(db);
  await sql`
    insert into daily_costs (tenant_id, day, user_id, agent, model, observed_nano, calls)
    select tenant_id, day, user_id, agent, model, sum(observed_nano), count(*) filter (where completed)
    from cost_ledger where tenant_id = ${tenantId} group by 1, 2, 3, 4, 5`.execute(db);
  for (const table of ['cost_ledger', 'daily_costs']) await settle(db, table);
  const total = { observedNano: 3 * calls, estimatedNano: 0, heldNano: 0, calls: calls - calls / failing };
  const pages = await pagesRead(db, async (counted) => {
    assert.deepEqual(await sumCosts(counted, { tenantId, groupBy: [], limit: 9 }), [{ group: [], ...total }]);
  });
  assert.ok(pages < 50, `${pages} pages`);
});
