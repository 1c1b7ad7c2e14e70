/** Runs that were asked to stop and whose end nobody writes: without any worker, they end (R10). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { closeLease, markStored, requestAbort } from '@signalbox/run-state';
import { systemClock } from '@signalbox/runtime';
import { assertNoTraces, eventTypes, record } from '../../../../packages/run-state/test/inspect.ts';
import { expireLease, lease } from '../../../../packages/run-state/test/support.ts';
import { call, type Loss, openLoss, own, park, statusOf, store, submitRun, TENANT } from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { sampleOf, tickBench } from '../../test/support.ts';
import { Hibernation } from '../hibernation/hibernation.ts';
import { createHibernationMetrics } from '../metrics.ts';
import { tick } from './tick.ts';

const FLAG = { requested_at: new Date().toISOString(), by: 'key_1', reason: null };

const abort = ({ partition }: Loss, runId: string) =>
  requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });

/** As if nobody had looked at it for a while. */
const letTimePass = async ({ partition: { redis, root } }: Loss, runId: string): Promise<void> => {
  await redis.zadd(`${root}:aborting`, 'XX', 1, runId);
};

const tickOf = async (loss: Loss) => {
  const bench = await tickBench(loss.partition);
  return { ...bench, tick: () => tick(bench) };
};

test('the run of a worker that was lost after the abort: its open call is charged, and it is counted', async () => {
  const loss = await openLoss();
  const { tick: once, registry } = await tickOf(loss);
  const worker = await lease(loss.partition, 1);
  const owner = await own(loss, await submitRun(loss), worker);
  await call(owner, 1, 500);
  const { run } = owner;
  await abort(loss, run.runId);
  await letTimePass(loss, run.runId);
  await once();
  assert.equal(await statusOf(loss, run.runId), 'running', 'its worker lives');

  await expireLease(loss.partition, worker);
  await letTimePass(loss, run.runId);
  assert.deepEqual((await once()).unended, [run.runId]);
  assert.equal(await statusOf(loss, run.runId), 'aborted');
  assert.deepEqual((await eventTypes(loss.partition, run.runId)).slice(-4), [
    'run.claimed',
    'run.abort_requested',
    'cost.expired',
    'run.aborted',
  ]);
  assert.equal(await sampleOf(registry, 'aborts_total{state="in_flight"}'), 1);
  await assertSound(loss);
  await assertNoTraces(loss.partition, run.runId);
});

test('one that hibernates, once it is loaded', async () => {
  const loss = await openLoss();
  const bench = await tickOf(loss);
  const hibernation = new Hibernation({
    ...bench,
    db: loss.db,
    clock: systemClock,
    metrics: createHibernationMetrics(bench.registry),
    hibernateAfterMs: 0,
    longestWaitMs: 3_600_000,
  });
  const owner = await own(loss, await submitRun(loss));
  await park(owner, 'timer');
  const { runId } = owner.run;
  await store(loss);
  const { seq } = await record(loss.partition, runId);
  await markStored(loss.partition, [{ runId, seq: Number(seq) }], 60);
  await hibernation.turn();
  await abort(loss, runId);
  await letTimePass(loss, runId);
  await bench.tick();
  assert.equal(await statusOf(loss, runId), 'waiting', 'what it did is not here yet');
  await hibernation.turn();
  await letTimePass(loss, runId);
  await bench.tick();
  assert.equal(await statusOf(loss, runId), 'aborted');
  await assertSound(loss);
});

test('one whose end cannot be written is left to a worker for a while, and keeps nobody from their ends', async () => {
  const loss = await openLoss();
  const bench = await tickBench(loss.partition);
  const runIds = [await submitRun(loss), await submitRun(loss)];
  for (const runId of runIds) {
    await abort(loss, runId);
    await letTimePass(loss, runId);
  }
  const [broken] = runIds;
  const endAborted = (runId: string): Promise<void> =>
    runId === broken ? Promise.reject(new Error('not to be read')) : bench.endAborted(runId);
  const deps = { ...bench, endAborted };
  await tick(deps);
  assert.deepEqual(await Promise.all(runIds.map((runId) => statusOf(loss, runId))), ['queued', 'aborted']);
  assert.ok(
    bench.log.some(({ msg, run_id: id }) => /left to its next owner/.test(String(msg)) && id === broken),
  );
  assert.deepEqual((await tick(deps)).unended, []);
});

test('the api is given a moment to write the end of what it was asked to stop', async () => {
  const loss = await openLoss();
  const bench = await tickBench(loss.partition);
  const leaseId = await lease(loss.partition, 1);
  const { run } = await own(loss, await submitRun(loss), leaseId);
  await closeLease(loss.partition, leaseId);
  await abort(loss, run.runId);
  assert.deepEqual((await tick(bench)).unended, []);
});
