import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  beginVerification,
  endVerification,
  type LoadableRun,
  loadRun,
  type Partition,
  repair,
  requestAbort,
  restoreCounters,
  withdrawTrust,
} from '../src/index.ts';
import { DAY, FLAG } from './drafts.ts';
import { money, record } from './inspect.ts';
import { ask } from './steps.ts';
import { claim, freshPartition, loadable, running, submit, TENANT } from './support.ts';

const verified = async (partition: Partition, runs: readonly LoadableRun[]): Promise<void> => {
  const verification = await beginVerification(partition);
  for (const run of runs) assert.equal(await loadRun(partition, verification, run), true);
  await restoreCounters(partition, verification, { days: [], runs: new Map() });
  await endVerification(partition, verification, { incarnation: 1, batches: 0 });
};

test('a run that is loaded can be claimed once, with the next wake_seq and the next epoch', async () => {
  const partition = await freshPartition();
  const run = loadable({ holds: [{ id: 'h', amountNano: 40, day: DAY, settled: null }] });
  await verified(partition, [run]);
  const { activations } = await repair(partition, { limit: 10, graceMs: 0 });
  assert.deepEqual(activations, [{ runId: run.runId, wakeSeq: 4 }]);
  const { run: claimed } = await claim(partition, run.runId, { wakeSeq: 4 });
  assert.equal(claimed.epoch, 2 ** 32 + 1);
  assert.deepEqual(claimed.entries, run.entries);
  assert.deepEqual([...claimed.contents], [...run.contents]);
  for (const scope of [`run:${run.runId}`, `spend:tenant:acme:${DAY}`, `spend:user_month:acme:2026-01:u1`]) {
    assert.deepEqual(await money(partition, scope), { spent: 0, held: 40 }, scope);
  }
});

test('a run that was asked to stop does not wait for its timer when it is loaded, whoever knows of it', async () => {
  const partition = await freshPartition();
  const parkedRun = { status: 'waiting', waitingFor: 'timer', dueMs: Date.now() + 3_600_000 } as const;
  const told = loadable({ ...parkedRun, abort: FLAG });
  const flagged = loadable(parkedRun);
  const patient = loadable(parkedRun);
  await submit(partition, { runId: flagged.runId, entries: flagged.entries.slice(0, 1) });
  await partition.redis.hset(`${partition.root}:run:${flagged.runId}`, 'seq', 0);
  await withdrawTrust(partition);
  await requestAbort(partition, { runId: flagged.runId, tenantId: TENANT, flag: FLAG });
  await verified(partition, [told, flagged, patient]);
  const statuses = await Promise.all([told, flagged, patient].map(({ runId }) => record(partition, runId)));
  assert.deepEqual(
    statuses.map(({ status, abort }) => [status, abort !== undefined]),
    [
      ['queued', true],
      ['queued', true],
      ['waiting', false],
    ],
  );
});

test('spent never goes down, held is what is open, and a root that is not here gets no half record', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1', capNano: 1000 });
  await ask(owner, 70);
  const scope = `spend:tenant:acme:${DAY}`;
  await partition.redis.hset(`${partition.root}:${scope}`, { spent: '500', held: '999' });
  const verification = await beginVerification(partition);
  const day = { tenantId: 'acme', userId: 'u1', day: DAY };
  await restoreCounters(partition, verification, {
    days: [
      { ...day, spentNano: 300 },
      { ...day, userId: '', spentNano: 20 },
    ],
    runs: new Map([
      [owner.run.runId, 300],
      ['run_elsewhere', 5],
    ]),
  });
  assert.deepEqual(await money(partition, scope), { spent: 500, held: 70 });
  assert.deepEqual(await money(partition, `spend:tenant_month:acme:2026-01`), { spent: 320, held: 70 });
  assert.deepEqual(await money(partition, `spend:user:acme:${DAY}:u1`), { spent: 300, held: 70 });
  assert.deepEqual(await money(partition, `run:${owner.run.runId}`), { spent: 300, held: 70 });
  assert.equal(await partition.redis.exists(`${partition.root}:run:run_elsewhere`), 0);
  assert.ok((await partition.redis.ttl(`${partition.root}:${scope}`)) > 0, 'a day that is over expires');
});
