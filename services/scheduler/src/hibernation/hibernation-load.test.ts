/**
 * How runs that hibernate come back: what cannot be loaded, and what a Redis that was lost or rolled back makes of
 * them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventDraft } from '@signalbox/contracts';
import { listLoading, repair, runKey, wakeRun } from '@signalbox/run-state';
import { journal, record } from '../../../../packages/run-state/test/inspect.ts';
import type { Owner } from '../../../../packages/run-state/test/support.ts';
import {
  backUp,
  call,
  claimed,
  enlarge,
  finish,
  finishOff,
  flush,
  openLoss,
  own,
  restart,
  store,
  submitRun,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { hibernationOf, LATER, park, partsOf, waiting } from '../../test/hibernating.ts';

const restOf = async (owner: Owner): Promise<void> => {
  const events: EventDraft[] = [claimed(owner.run.wakeSeq, true)];
  await owner.write({ results: events, notes: owner.run.notes.length });
};

test('one that cannot be loaded is said so, and the others are', async () => {
  const loss = await openLoss();
  const { hibernation } = await hibernationOf(loss);
  const [lost, keyless, whole] = [await waiting(loss), await waiting(loss), await waiting(loss)].map(
    ({ run }) => run.runId,
  );
  assert.ok(lost !== undefined && keyless !== undefined && whole !== undefined);
  await hibernation.turn();
  for (const runId of [lost, keyless, whole]) await wakeRun(loss.partition, runId, 'timer');
  await loss.db.deleteFrom('runs').where('id', '=', lost).execute();
  await loss.db.deleteFrom('run_keys').where('run_id', '=', keyless).execute();
  await hibernation.turn();
  assert.equal((await record(loss.partition, whole))['status'], 'queued');
  const named = loss.log
    .filter(({ level }) => level === 'error' || level === 50)
    .map((line) => line['run_id']);
  assert.deepEqual(new Set(named), new Set([lost, keyless]));
  assert.deepEqual(await listLoading(loss.partition, 10), [], 'they are tried again later');
});

test('runs too large to be read beside each other: one that breaks the script stands in front of none', async () => {
  const loss = await openLoss();
  const { hibernation } = await hibernationOf(loss);
  const [broken, ...others] = [await waiting(loss), await waiting(loss), await waiting(loss)].map(
    ({ run }) => run.runId,
  );
  assert.ok(broken !== undefined);
  await hibernation.turn();
  for (const runId of [broken, ...others]) {
    await enlarge(loss, runId);
    await wakeRun(loss.partition, runId, 'timer');
  }
  await loss.partition.redis.set(runKey(loss.partition, broken, 'holds'), 'a text');
  await hibernation.turn();
  for (const runId of others) assert.equal((await record(loss.partition, runId))['status'], 'queued');
  const failed = loss.log.filter(({ msg }) => msg === 'a run cannot be loaded');
  assert.deepEqual(
    failed.map((line) => line['run_id']),
    [broken],
  );
  assert.deepEqual(await listLoading(loss.partition, 10), [], 'it is tried again later');
});

test('a restart keeps what sleeps and what waits to be loaded; nothing of it is loaded by the verification', async () => {
  const loss = await openLoss();
  const { hibernation } = await hibernationOf(loss);
  const [asleep, loading] = [await waiting(loss), await waiting(loss)].map(({ run }) => run.runId);
  assert.ok(asleep !== undefined && loading !== undefined);
  await hibernation.turn();
  await wakeRun(loss.partition, loading, 'timer');
  await restart(loss);
  assert.equal((await loss.verify())?.runsLoaded, 0);
  await assertSound(loss);
  assert.deepEqual(await partsOf(loss, asleep), ['']);
  assert.deepEqual(await listLoading(loss.partition, 10), [loading]);
  await hibernation.turn();
  assert.equal((await finishOff(loss, loading, [])).reply.code, 'OK');
});

test('after a flush a run that would sleep is put back asleep, and still wakes', async () => {
  const hibernateAfterMs = 600_000;
  const loss = await openLoss(undefined, { hibernateAfterMs });
  const ago = new Date(Date.now() - 2 * hibernateAfterMs).toISOString();
  const runId = await submitRun(loss, { runAt: LATER, ts: ago });
  const recent = await submitRun(loss, { runAt: LATER });
  await store(loss);
  await flush(loss);
  assert.equal((await loss.verify())?.runsLoaded, 2);
  assert.deepEqual(await partsOf(loss, runId), ['']);
  assert.equal((await journal(loss.partition, recent)).length, 1);
  await assertSound(loss);
  const { hibernation } = await hibernationOf(loss, { hibernateAfterMs });
  await loss.partition.redis.zadd(`${loss.partition.root}:timers`, 1, runId);
  await repair(loss.partition, { limit: 10, graceMs: 60_000 });
  await hibernation.turn();
  assert.equal((await finishOff(loss, runId, [])).reply.code, 'OK');
  await store(loss);
  await assertSound(loss);
});

test('an old copy in which a run sleeps that went on since: it is put back as Postgres has it', async () => {
  const loss = await openLoss();
  const { hibernation } = await hibernationOf(loss);
  const [parkedAgain, ended, held] = [await waiting(loss), await waiting(loss), await waiting(loss)].map(
    ({ run }) => run.runId,
  );
  assert.ok(parkedAgain !== undefined && ended !== undefined && held !== undefined);
  await hibernation.turn();
  await wakeRun(loss.partition, held, 'timer');
  const copy = await backUp(loss);
  for (const runId of [parkedAgain, ended]) await wakeRun(loss.partition, runId, 'timer');
  await hibernation.turn();
  const again = await own(loss, parkedAgain);
  await restOf(again);
  await park(again, 'timer', LATER);
  const last = await own(loss, ended);
  await finish(last, 1);
  const calling = await own(loss, held);
  await call(calling, 2, 500);
  await store(loss);
  await restart(loss, copy);
  assert.equal((await loss.verify())?.runsLoaded, 3);
  await assertSound(loss);
  const statuses = [parkedAgain, ended, held].map(async (id) => (await record(loss.partition, id))['status']);
  assert.deepEqual(await Promise.all(statuses), ['waiting', 'succeeded', 'queued']);
  assert.deepEqual(await listLoading(loss.partition, 10), []);
  assert.equal((await journal(loss.partition, parkedAgain)).length, 8);
});
