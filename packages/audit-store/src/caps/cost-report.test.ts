import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import {
  type Call,
  completed,
  expired,
  journalOf,
  recordOf,
  requested,
  submitted,
} from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import { type CostGroup, type CostQuery, sumCosts } from './cost-report.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

type Written = Omit<Call, 'runId' | 'step'> & { end?: 'completed' | 'expired' | 'open'; tenantId: string };

const write = async (
  { end = 'completed', tenantId, ...call }: Written,
  who: { userId: string | null; agent: string | null },
): Promise<void> => {
  const runId = newId('run');
  const at = { ...call, runId, step: 1 };
  const ends = { completed: [completed(at)], expired: [expired(at)], open: [] };
  const { entries } = journalOf(runId, [submitted(), requested(at), ...ends[end]]);
  await writeBatch(db, [recordOf(runId, entries, { tenantId, ...who })]);
};

const ask = async (tenantId: string, groupBy: CostGroup[], more: Partial<CostQuery> = {}) =>
  (await sumCosts(db, { tenantId, groupBy, limit: 100, ...more })).map((row) => [
    ...row.group,
    row.observedNano,
    row.heldNano,
    row.calls,
  ]);

test('sums by every grouping; what is held, what no provider confirmed; one tenant only', async () => {
  const anna = { userId: 'anna', agent: 'support' };
  const none = { userId: null, agent: null };
  await write({ tenantId: 't', day: '2026-11-20', nano: 100 }, anna);
  await write({ tenantId: 't', day: '2026-11-20', nano: 23 }, anna);
  await write({ tenantId: 't', day: '2026-11-21', nano: 7, end: 'expired' }, none);
  await write({ tenantId: 't', day: '2026-11-21', nano: 5, end: 'open' }, anna);
  await write({ tenantId: 'other', day: '2026-11-21', nano: 1000 }, anna);
  assert.deepEqual(await ask('t', []), [[130, 5, 2]]);
  assert.deepEqual(await ask('t', ['day']), [
    ['2026-11-20', 123, 0, 2],
    ['2026-11-21', 7, 5, 0],
  ]);
  assert.deepEqual(await ask('t', ['user_id', 'day']), [
    ['', '2026-11-21', 7, 0, 0],
    ['anna', '2026-11-20', 123, 0, 2],
    ['anna', '2026-11-21', 0, 5, 0],
  ]);
  assert.deepEqual(await ask('t', ['agent']), [
    ['', 7, 0, 0],
    ['support', 123, 5, 2],
  ]);
  assert.deepEqual(
    (await ask('t', ['model'])).map(([, ...sums]) => sums),
    [[130, 5, 2]],
  );
  assert.deepEqual(await ask('t', ['day'], { from: '2026-11-21' }), [['2026-11-21', 7, 5, 0]]);
  assert.deepEqual(await ask('t', ['day'], { to: '2026-11-20' }), [['2026-11-20', 123, 0, 2]]);
  assert.deepEqual(await ask('nobody', []), [[0, 0, 0]]);
  assert.deepEqual(await ask('nobody', ['day']), []);
  const [total] = await sumCosts(db, { tenantId: 't', groupBy: [], limit: 1 });
  assert.equal(total?.estimatedNano, 7);
});

test('pages join without gap or overlap', async () => {
  for (const userId of ['a', 'B', 'ä', null]) {
    for (const day of ['2026-11-20', '2026-11-21']) {
      await write({ tenantId: 'paged', day, nano: 1 }, { userId, agent: null });
    }
  }
  const groupBy: CostGroup[] = ['user_id', 'day'];
  const seen: string[] = [];
  let after: readonly string[] | undefined;
  for (;;) {
    const [row] = await sumCosts(db, { tenantId: 'paged', groupBy, limit: 1, after });
    if (row === undefined) break;
    seen.push(row.group.join(' '));
    after = row.group;
  }
  const days = (user: string) => [`${user} 2026-11-20`, `${user} 2026-11-21`];
  assert.deepEqual(seen, ['', 'B', 'a', 'ä'].flatMap(days));
});
