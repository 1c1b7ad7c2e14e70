/** The turns of retention: their size, what stops one, and when they come. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { writeBatch } from '@signalbox/audit-store';
import type { Partition } from '@signalbox/run-state';
import { recordOf, simpleJournal } from '../../../../packages/audit-store/test/journal.ts';
import { submit } from '../../../../packages/run-state/test/support.ts';
import { failing } from '../../test/failing-scripts.ts';
import { finish, own, store } from '../../test/loss.ts';
import { eraseDue, keepRetention } from './retention.ts';
import {
  DAY,
  END,
  ended,
  factOf,
  facts,
  keepFor,
  openBench,
  readable,
  sealedBytes,
} from '../../test/retaining.ts';

const ROUND = 15_000;

describe('a scheduler that is killed within an erasure', () => {
  /** Its nth script does not reach Redis, nor does anything behind it. */
  const killedAt = (partition: Partition, n: number): Partition =>
    failing(partition, (nth) => (nth >= n ? 'killed' : null));

  for (const [n, what] of [
    [1, 'before its trail'],
    [2, 'behind its trail'],
    [3, 'behind its deed'],
  ] as const) {
    test(`${what}: the next one ends it, and the trail tells of it once`, async () => {
      const bench = await openBench(END + DAY);
      await keepFor(bench, { content_days: 1 });
      const runId = await ended(bench);
      await assert.rejects(eraseDue({ ...bench, partition: killedAt(bench.partition, n) }), {
        code: 'state_unavailable',
      });
      assert.equal((await readable(bench, runId)) > 0, n < 3);
      await eraseDue(bench);
      assert.equal(await readable(bench, runId), 0);
      assert.deepEqual(await sealedBytes(bench, runId), []);
      assert.deepEqual(await facts(bench), [factOf(runId)]);
    });
  }
});

test('a turn takes no more than a batch of a tenant, and says that there is more', async () => {
  const bench = await openBench(END + DAY);
  await keepFor(bench, { content_days: 0 });
  const runs = 53;
  for (let i = 0; i < runs; i += 1)
    await finish(await own(bench.loss, (await submit(bench.partition)).runId), 0);
  await store(bench.loss);
  assert.equal(await eraseDue(bench), true);
  assert.equal(await bench.erasedCount(), 50);
  assert.equal(await eraseDue(bench), false);
  assert.equal(await bench.erasedCount(), runs);
  assert.equal((await facts(bench)).length, runs);
});

test('a tenant whose statement runs out of time does not stop those behind it', async () => {
  const bench = await openBench(END + 365 * DAY);
  const { db, loss } = bench;
  const slow = simpleJournal();
  await writeBatch(db, [recordOf(slow.runId, slow.entries, { tenantId: 'a-slow-one' })]);
  await keepFor(bench, { content_days: 0 }, 'a-slow-one');
  await keepFor(bench, { content_days: 0 });
  const runId = await ended(bench);
  let erasures = 0;
  const late = new Proxy(db, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      if (name !== 'transaction' || (erasures += 1) > 1) return (value as () => unknown).bind(target);
      const timeout = 'canceling statement due to statement timeout';
      throw Object.assign(new Error(timeout), { code: '57014', severity: 'ERROR' });
    },
  });
  await eraseDue({ ...bench, db: late });
  assert.equal(await readable(bench, runId), 0);
  const told = loss.log.filter(({ level }) => level === 'error').map(({ tenant_id }) => tenant_id);
  assert.deepEqual(told, ['a-slow-one']);
});

test('a tenant of whom a script breaks does not stop those behind it', async () => {
  const bench = await openBench(END + 365 * DAY);
  const { db, loss, partition } = bench;
  const broken = simpleJournal();
  await writeBatch(db, [recordOf(broken.runId, broken.entries, { tenantId: 'a-broken-one' })]);
  await keepFor(bench, { content_days: 0 }, 'a-broken-one');
  await keepFor(bench, { content_days: 0 });
  const runId = await ended(bench);
  const bug = 'ERR user_script:1: a bug script: f_1, on @user_script:1.';
  await eraseDue({ ...bench, partition: failing(partition, (nth) => (nth === 1 ? bug : null)) });
  assert.equal(await readable(bench, runId), 0);
  const told = loss.log.filter(({ level }) => level === 'error').map(({ tenant_id }) => tenant_id);
  assert.deepEqual(told, ['a-broken-one']);
});

test('the loop: every 15 s, only while it leads, and again after a store was away', async () => {
  let leads = false;
  const bench = await openBench(END + DAY, { isLeader: () => leads });
  const { clock, partition, loss } = bench;
  await keepFor(bench, { content_days: 0 });
  const runId = await ended(bench);
  const stopping = new AbortController();
  let isAway = true;
  const flaky = failing(partition, () => (isAway ? 'away' : null));
  const running = keepRetention({ ...bench, partition: flaky }, stopping.signal);
  const round = async (): Promise<void> => {
    await clock.whenSleeping();
    await clock.advance(ROUND);
    await clock.whenSleeping();
  };
  await round();
  assert.deepEqual(
    loss.log.filter(({ level }) => level === 'warn'),
    [],
  );
  leads = true;
  await round();
  assert.equal(loss.log.filter(({ level }) => level === 'warn').length, 1);
  assert.ok((await readable(bench, runId)) > 0);
  isAway = false;
  await round();
  assert.equal(await readable(bench, runId), 0);
  stopping.abort();
  await running;
});
