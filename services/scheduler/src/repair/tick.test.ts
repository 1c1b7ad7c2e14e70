import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { claimRun, consumeActivations } from '@signalbox/run-state';
import {
  claim,
  expireLease,
  freshPartition,
  lease,
  openRedis,
  running,
  submit,
} from '../../../../packages/run-state/test/support.ts';
import { atEnd, sampleOf, tickBench } from '../../test/support.ts';
import { isFull, tick } from './tick.ts';

test('the run of a dead worker goes to a worker again (R10)', async () => {
  const partition = await freshPartition();
  const bench = await tickBench(partition);
  const dead = await lease(partition);
  const { run } = await running(partition, {}, dead);
  await expireLease(partition, dead);
  const seen: number[] = [];
  const consumer = consumeActivations(partition, await openRedis('queue-worker'), {
    lockMs: 30_000,
    slots: 1,
    onError: () => undefined,
    onActivation: async ({ runId, wakeSeq }) => {
      assert.equal(runId, run.runId);
      seen.push((await claim(partition, runId, { wakeSeq })).run.epoch);
      return 'done';
    },
  });
  atEnd(() => consumer.close());

  const repaired = await tick(bench);
  assert.equal(repaired.lost, 1);
  await until('the activation to reach a worker', () => seen.length > 0);
  assert.deepEqual(seen, [run.epoch + 1]);
  assert.equal(await sampleOf(bench.registry, 'resumes_total{reason="lease_expired"}'), 1);
  assert.ok(bench.log.some(({ msg, lost }) => msg === 'repaired' && lost === 1));
  assert.equal(bench.log.find(({ msg }) => msg === 'repaired')?.['level'], 'info');
});

test('a due timer wakes its run, one that is not due does not', async () => {
  const partition = await freshPartition();
  const bench = await tickBench(partition);
  const { runId } = await submit(partition, { dueMs: Date.now() - 1 });
  await submit(partition, { dueMs: Date.now() + 3_600_000 });
  await tick(bench);
  assert.deepEqual(
    bench.added.map((activation) => activation.runId),
    [runId],
  );
  assert.equal(await sampleOf(bench.registry, 'timers_fired_total'), 1);
  assert.equal(bench.log.find(({ msg }) => msg === 'repaired')?.['level'], 'debug');
  assert.deepEqual((await tick(bench)).activations, []);
});

test('an activation that reached no worker is queued again after the grace', async () => {
  const partition = await freshPartition();
  const bench = await tickBench(partition);
  const { runId, activations } = await submit(partition);
  await tick(bench);
  assert.equal(bench.added.length, 0, 'the grace is not over');
  await partition.redis.zadd(`${partition.root}:admitted`, 1, runId);
  await tick(bench);
  assert.deepEqual(
    bench.added,
    activations.map((lost) => ({ ...lost, again: true })),
  );
  assert.equal(await sampleOf(bench.registry, 'activations_requeued_total'), 1);
  const activation = bench.added.at(0);
  assert.ok(activation !== undefined);
  const claimed = await claimRun(partition, {
    runId: activation.runId,
    wakeSeq: activation.wakeSeq,
    leaseId: await lease(partition),
    token: 't',
  });
  assert.equal(claimed.type, 'claimed');
});

test('a tick with more to do than it may says that it was full', async () => {
  const partition = await freshPartition();
  const bench = await tickBench(partition);
  await Promise.all(Array.from({ length: 230 }, () => submit(partition, { dueMs: 1 })));
  const [first, second] = [await tick(bench), await tick(bench)];
  assert.deepEqual([first.timers, isFull(first)], [200, true]);
  assert.deepEqual([second.timers, isFull(second)], [30, false]);
});

test('what does not reach the queue is not forgotten', async () => {
  const partition = await freshPartition();
  const bench = await tickBench(partition);
  const { runId } = await submit(partition, { dueMs: 1 });
  const away = { ...bench.queue, add: () => Promise.reject(new Error('the queue is away')) };
  await assert.rejects(tick({ ...bench, queue: away }), /the queue is away/);
  await partition.redis.zadd(`${partition.root}:admitted`, 1, runId);
  await tick(bench);
  assert.deepEqual(
    bench.added.map((activation) => activation.runId),
    [runId],
  );
});
