import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eraseRunContents } from '@signalbox/audit-store';
import { eraseHot, repair, requestAbort, runKey } from '@signalbox/run-state';
import { systemClock } from '@signalbox/runtime';
import { money } from '../../../../packages/run-state/test/inspect.ts';
import { claim, expireLease, lease } from '../../../../packages/run-state/test/support.ts';
import {
  answer,
  appendOnlyEnd,
  backUp,
  call,
  finish,
  finishOff,
  LATER,
  openLoss,
  own,
  park,
  restart,
  restartCutAt,
  statusOf,
  store,
  submitRun,
  TENANT,
  TODAY,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { verifyRunState } from './verification.ts';

test('an older copy: what ended meanwhile has ended, what went on is fenced, spent is that of the ledger', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const leaseId = await lease(partition, 4);
  const late = await own(loss, await submitRun(loss), leaseId);
  await call(late, 1, 300);
  const goingOn = await own(loss, await submitRun(loss), leaseId);
  await call(goingOn, 1, 300);
  const still = await own(loss, await submitRun(loss), leaseId);
  await call(still, 1, 300);
  await store(loss);
  const copy = await backUp(loss);
  await answer(late, 1, 250);
  await finish(late, 1);
  await answer(goingOn, 1, 200);
  await call(goingOn, 2, 100);
  const fresh = await submitRun(loss);
  await store(loss);
  await restart(loss, copy);
  assert.equal((await loss.verify())?.runsLoaded, 3);
  assert.deepEqual(await Promise.all([late, goingOn, still].map(({ run }) => statusOf(loss, run.runId))), [
    'succeeded',
    'queued',
    'running',
  ]);
  assert.equal((await finish(late, 1)).code, 'TERMINAL');
  assert.equal((await answer(goingOn, 2, 10)).code, 'FENCED');
  assert.equal((await answer(still, 1, 10)).code, 'OK');
  assert.equal(await statusOf(loss, fresh), 'queued');
  await assertSound(loss);
  assert.deepEqual(await money(partition, `spend:tenant:acme:${TODAY}`), { spent: 460, held: 100 });
  assert.deepEqual(await money(partition, `run:${late.run.runId}`), { spent: 250, held: 0 });
});

test('an append-only file that lost its tail: what Postgres has of the tail is put back', async () => {
  const loss = await openLoss();
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await store(loss);
  const end = await appendOnlyEnd(loss);
  await answer(owner, 1, 250);
  await finish(owner, 1);
  await store(loss);
  await restartCutAt(loss, { ...end, bytes: end.bytes + 20 });
  assert.equal(await statusOf(loss, owner.run.runId), 'running');
  assert.equal((await loss.verify())?.runsLoaded, 1);
  assert.equal(await statusOf(loss, owner.run.runId), 'succeeded');
  assert.deepEqual(await money(loss.partition, `spend:tenant:acme:${TODAY}`), { spent: 250, held: 0 });
  await assertSound(loss);
});

test('a tail that nobody has: the owner is refused, and its run is claimed by another once it lets go', async () => {
  const loss = await openLoss();
  const owner = await own(loss, await submitRun(loss));
  await store(loss);
  const end = await appendOnlyEnd(loss);
  await call(owner, 1, 300);
  await restartCutAt(loss, end);
  await loss.verify();
  assert.equal((await answer(owner, 1, 20)).code, 'CONFLICT');
  await expireLease(loss.partition, owner.run.leaseId);
  await repair(loss.partition, { limit: 10, graceMs: 0 });
  assert.equal((await finishOff(loss, owner.run.runId, [])).reply.code, 'OK');
  await store(loss);
  await assertSound(loss);
});

test('a stop that was asked for during a verification is neither lost nor left waiting for a timer', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const timer = await own(loss, await submitRun(loss));
  await park(timer, 'timer');
  await store(loss);
  const copy = await backUp(loss);
  await claim(partition, timer.run.runId);
  await restart(loss, copy);
  const flag = { requested_at: LATER, by: 'key_1', reason: null };
  const { runId } = timer.run;
  await requestAbort(partition, { runId, tenantId: TENANT, flag });
  await loss.verify();
  assert.equal(await statusOf(loss, runId), 'queued');
  const owner = await claim(partition, runId);
  assert.deepEqual(
    owner.run.notes.map(({ type }) => type),
    ['abort'],
  );
});

test('a Redis that came back from a backup does not bring back what was erased', async () => {
  const loss = await openLoss();
  const { partition, db } = loss;
  const [ended, open] = [await submitRun(loss), await submitRun(loss)];
  await finish(await own(loss, ended), 0);
  const copy = await backUp(loss);
  const owner = await own(loss, open);
  await finish(owner, 0);
  await store(loss);
  await eraseHot(partition, await eraseRunContents(db, TENANT, [ended, open]));
  await restart(loss, copy);
  assert.equal(await partition.redis.hexists(runKey(partition, ended), 'key'), 1, 'the backup has it');
  // Redis may keep a run for a month after its end.
  const clock = { ...systemClock, now: () => Date.now() + 29 * 86_400_000 };
  await verifyRunState({ ...loss, clock, hibernateAfterMs: Number.MAX_SAFE_INTEGER });
  for (const id of [ended, open]) {
    const { status, key, erased } = await partition.redis.hgetall(runKey(partition, id));
    assert.deepEqual([status, key, typeof erased], ['succeeded', undefined, 'string']);
    assert.equal(await partition.redis.exists(runKey(partition, id, 'contents')), 0);
  }
});
