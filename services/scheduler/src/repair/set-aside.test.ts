/**
 * Runs that a verification cannot put back: nobody goes on with less than Postgres has, and each comes back (R6, R10).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countUnrestored, requestAbort } from '@signalbox/run-state';
import { money, record } from '../../../../packages/run-state/test/inspect.ts';
import { claim } from '../../../../packages/run-state/test/support.ts';
import {
  answer,
  backUp,
  call,
  finish,
  finishOff,
  flush,
  LATER,
  type Loss,
  openLoss,
  own,
  park,
  restart,
  statusOf,
  store,
  submitRun,
  TENANT,
  TODAY,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { tickBench } from '../../test/support.ts';
import { Hibernation } from '../hibernation/hibernation.ts';
import { createHibernationMetrics } from '../metrics.ts';

/** As if this scheduler lacked its key; gives it back. */
const takeKey = async ({ db }: Loss, runId: string): Promise<() => Promise<unknown>> => {
  const rows = await db.deleteFrom('run_keys').where('run_id', '=', runId).returningAll().execute();
  return () => db.insertInto('run_keys').values(rows).execute();
};

const YEAR = 365 * 86_400_000;

/** Loads what is due, as the leading scheduler does. */
const load = async (loss: Loss): Promise<void> => {
  const { redis, root } = loss.partition;
  for (const runId of await redis.zrange(`${root}:loading`, '0', '-1'))
    await redis.zadd(`${root}:loading`, 1, runId);
  const bench = await tickBench(loss.partition);
  const metrics = createHibernationMetrics(bench.registry);
  const times = { hibernateAfterMs: YEAR, longestWaitMs: YEAR };
  await new Hibernation({ ...bench, db: loss.db, metrics, logger: loss.logger, ...times }).turn();
};

const DAY_SCOPE = `spend:tenant:${TENANT}:${TODAY}`;

test('an older copy of a run that cannot be put back: nobody goes on with it, its holds count, it comes back', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const owner = await own(loss, await submitRun(loss));
  const { runId } = owner.run;
  await call(owner, 1, 300);
  await store(loss);
  const copy = await backUp(loss);
  await answer(owner, 1, 250);
  await call(owner, 2, 100);
  await store(loss);
  const giveBack = await takeKey(loss, runId);
  await restart(loss, copy);
  assert.deepEqual(await loss.verify().then((v) => [v?.runsLoaded, v?.runsAside]), [0, 1]);

  assert.equal((await answer(owner, 2, 10)).code, 'FENCED');
  await assert.rejects(claim(partition, runId), /LOADING/);
  assert.equal(await partition.redis.scard(`${partition.root}:lease:${owner.run.leaseId}`), 0);
  assert.equal(await partition.redis.zscore(`${partition.root}:running`, runId), null);
  const paid = { spent: 250, held: 100 };
  assert.deepEqual([await money(partition, DAY_SCOPE), await money(partition, `run:${runId}`)], [paid, paid]);
  await load(loss);
  assert.equal(await statusOf(loss, runId), 'waiting');

  await giveBack();
  await load(loss);
  assert.equal(await countUnrestored(partition), 0);
  assert.equal(await statusOf(loss, runId), 'queued');
  assert.deepEqual([await money(partition, DAY_SCOPE), await money(partition, `run:${runId}`)], [paid, paid]);
  const { owner: next, reply } = await finishOff(loss, runId, [[2, 100]]);
  assert.equal(reply.code, 'OK');
  assert.ok(
    next.run.entries.some((entry) => entry.includes('"llm.completed"')),
    'the paid step is known (R6)',
  );
  assert.deepEqual(await money(partition, DAY_SCOPE), { spent: 350, held: 0 });
  await store(loss);
  await assertSound(loss);
});

test('an empty Redis: a run that cannot be put back is tried again, waits on, and takes a stop', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const timer = await own(loss, await submitRun(loss));
  await park(timer, 'timer');
  const stopped = await own(loss, await submitRun(loss));
  await call(stopped, 1, 300);
  await store(loss);
  const [timerId, stoppedId] = [timer.run.runId, stopped.run.runId];
  const giveBack = [await takeKey(loss, timerId), await takeKey(loss, stoppedId)];
  await flush(loss);
  assert.equal((await loss.verify())?.runsAside, 2);
  assert.equal(await countUnrestored(partition), 2);
  assert.deepEqual(await money(partition, DAY_SCOPE), { spent: 0, held: 300 });
  const flag = { requested_at: LATER, by: 'key_1', reason: null };
  await requestAbort(partition, { runId: stoppedId, tenantId: TENANT, flag });

  for (const give of giveBack) await give();
  await load(loss);
  assert.deepEqual(
    [await statusOf(loss, timerId), await statusOf(loss, stoppedId)],
    ['waiting', 'queued'],
    'a timer keeps its time',
  );
  assert.equal(await partition.redis.zscore(`${partition.root}:timers`, timerId), String(Date.parse(LATER)));
  const { run } = await claim(partition, stoppedId);
  assert.deepEqual(
    run.notes.map(({ type }) => type),
    ['abort'],
  );
  assert.ok(run.epoch > stopped.run.epoch && run.wakeSeq > stopped.run.wakeSeq);
});

test('one that has ended is ended here too, though its journal cannot be put back', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const owner = await own(loss, await submitRun(loss));
  const { runId } = owner.run;
  const copy = await backUp(loss);
  await finish(owner, 0);
  const damaged = (entry: string): string => entry.replace('"run.claimed"', '"run.clawed"');
  await store(loss, 10, (stored) => ({ ...stored, entries: stored.entries.map(damaged) }));
  await restart(loss, copy);
  assert.equal((await loss.verify())?.runsAside, 1);
  assert.equal((await record(partition, runId))['status'], 'succeeded');
  assert.equal((await finish(owner, 0)).code, 'TERMINAL');
  assert.equal(await partition.redis.zscore(`${partition.root}:running`, runId), null);
  assert.equal(await countUnrestored(partition), 0);
});
