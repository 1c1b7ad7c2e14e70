import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listLoading, type Partition, reindexRuns, repair, scanHotRuns } from '../src/index.ts';
import { succeeded } from './drafts.ts';
import { keyOf, money, record, snapshot, TENANT_DAY } from './inspect.ts';
import { ask, END, GRACE, park, parkedRun, sleepAll } from './steps.ts';
import { cap, claim, freshPartition, running, submit, TENANT } from './support.ts';

const loseKeys = async (partition: Partition, ...names: string[]): Promise<void> => {
  await partition.redis.del(...names.map((name) => keyOf(partition, name)));
};

test('what is found by its index stays as it is, as does what has ended or is not here', async () => {
  const partition = await freshPartition();
  const work = await running(partition);
  const timer = await running(partition);
  await park(timer, { dueMs: Date.now() + 60_000 });
  const question = await running(partition);
  await park(question, { reason: 'approval' });
  const sleeper = await parkedRun(partition, { dueMs: Date.now() + 60_000 });
  await sleepAll(partition);
  const ended = await running(partition);
  await ended.write(END);
  const { runId: queued } = await submit(partition);
  const before = await snapshot(partition);
  const runIds = [work, timer, question, sleeper, ended].map(({ run }) => run.runId);
  const reply = await reindexRuns(partition, [...runIds, queued, 'run_unknown']);
  assert.deepEqual(reply, { putBack: 0, activations: [] });
  assert.deepEqual(await snapshot(partition), before);
});

test('a run at work whose lease is nowhere goes to another worker, its open call charged', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 70);
  await loseKeys(partition, 'leases');
  const { runId } = owner.run;
  const reply = await reindexRuns(partition, [runId]);
  assert.deepEqual(reply, { putBack: 1, activations: [{ runId, wakeSeq: 2 }] });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 70, held: 0 });
  assert.equal((await owner.write({ announce: [succeeded()] })).code, 'FENCED');
  assert.equal((await claim(partition, runId, { wakeSeq: 2 })).run.epoch, 2);
});

test('a run that hibernates and is in no index is loaded', async () => {
  const partition = await freshPartition();
  const { run } = await parkedRun(partition, { dueMs: Date.now() + 60_000 });
  await sleepAll(partition);
  await loseKeys(partition, 'asleep');
  assert.equal((await reindexRuns(partition, [run.runId])).putBack, 1);
  assert.deepEqual(await listLoading(partition, 10), [run.runId]);
});

test('a user whose runs are held back no more counts as capped no more, though their index was lost', async () => {
  const partition = await freshPartition();
  await cap(partition, { userMaxRuns: 1 });
  await running(partition, { userId: 'u1' });
  const { runId } = await submit(partition, { userId: 'u1' });
  await loseKeys(partition, `held_back:${TENANT}:u1`);
  await cap(partition, { userMaxRuns: null });
  assert.equal((await reindexRuns(partition, [runId])).putBack, 1);
  await repair(partition, GRACE);
  assert.deepEqual(await partition.redis.smembers(keyOf(partition, 'capped_users')), []);
});

test('a parked run without its timer is woken, to park again', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition, { dueMs: Date.now() + 60_000 });
  await loseKeys(partition, 'timers');
  const reply = await reindexRuns(partition, [runId]);
  assert.deepEqual(reply, { putBack: 1, activations: [{ runId, wakeSeq: 2 }] });
  assert.equal((await record(partition, runId))['status'], 'queued');
});

test('all runs are found without an index, and none of their parts', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 70);
  const runIds = [owner.run.runId, (await submit(partition, { contents: [['ref', 'sealed']] })).runId];
  const found = new Set<string>();
  for (let from = '0'; ; ) {
    const page = await scanHotRuns(partition, from, 10);
    for (const runId of page.runIds) found.add(runId);
    if (page.cursor === '0') break;
    from = page.cursor;
  }
  assert.deepEqual([...found].toSorted(), runIds.toSorted());
});
