import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { freshPartition, lease, running, submit } from '../../../../packages/run-state/test/support.ts';
import { hasty, sampleOf, tickBench } from '../../test/support.ts';
import { createReindexCounter } from '../metrics.ts';
import { keepIndexes } from './reindex.ts';

test('the leader puts a run back that no index leads to, and says so; others do nothing', async () => {
  const partition = await freshPartition();
  await lease(partition, 4);
  const { runId } = await submit(partition);
  await partition.redis.del(`${partition.root}:admitted`, `${partition.root}:queued:1`);
  const bench = await tickBench(partition);
  const stopping = new AbortController();
  const reindexed = createReindexCounter(bench.registry);
  const keep = (isLeader: boolean) =>
    keepIndexes({ ...bench, clock: hasty, reindexed, isLeader: () => isLeader }, stopping.signal);
  const kept = [keep(false), keep(true)];
  await until('the run to be queued again', () => bench.added.length > 0);
  stopping.abort();
  await Promise.all(kept);
  assert.deepEqual(bench.added, [{ runId, wakeSeq: 1 }]);
  assert.equal(await sampleOf(bench.registry, 'runs_reindexed_total'), 1);
  assert.equal(bench.log.filter(({ msg }) => msg === 'runs that no index led to were put back').length, 1);
});

test('a run whose record is damaged is told of, and those beside and behind it are looked at', async () => {
  const partition = await freshPartition();
  await lease(partition, 4);
  const { run } = await running(partition);
  const bad = run.runId;
  const { runId: lost } = await submit(partition);
  await partition.redis.hdel(`${partition.root}:run:${bad}`, 'owner');
  await partition.redis.set(`${partition.root}:run:${bad}:holds`, 'a text');
  await partition.redis.del(`${partition.root}:admitted`, `${partition.root}:queued:1`);
  const bench = await tickBench(partition);
  const stopping = new AbortController();
  const reindexed = createReindexCounter(bench.registry);
  const kept = keepIndexes({ ...bench, clock: hasty, reindexed, isLeader: () => true }, stopping.signal);
  const told = () =>
    bench.log.find(({ msg }) => msg === 'the record of a run is damaged: nobody can go on with it');
  await until(
    'the one to be queued again and the other told of',
    async () =>
      (await partition.redis.zscore(`${partition.root}:queued:1`, lost)) !== null && told() !== undefined,
  );
  stopping.abort();
  await kept;
  assert.equal(told()?.['run_id'], bad);
});
