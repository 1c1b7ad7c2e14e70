import assert from 'node:assert/strict';
import { test } from 'node:test';
import { migrate, withCapsLocked } from '@signalbox/audit-store';
import { SignalboxError } from '@signalbox/contracts';
import { startPostgres, temporaryDir, waitFor, until } from '@signalbox/local';
import { listLoading, readTrust, releaseRuns, withdrawTrust } from '@signalbox/run-state';
import { createMetrics } from '@signalbox/runtime';
import { claim } from '../../../../packages/run-state/test/support.ts';
import {
  answer,
  call,
  everyState,
  finish,
  flush,
  isTrusted,
  openLoss,
  own,
  restart,
  statusOf,
  store,
  submitRun,
  untrusted,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { sampleOf, startLoop } from '../../test/support.ts';
import { createTrustMetrics } from '../metrics.ts';

test('of two schedulers one verifies', async () => {
  const loss = await openLoss();
  await everyState(loss);
  await store(loss);
  await flush(loss);
  const both = await Promise.all([loss.verify(), loss.verify()]);
  assert.deepEqual(
    both.map((verified) => verified?.runsLoaded ?? 0).toSorted((a, b) => a - b),
    [0, 7],
  );
  assert.equal((await readTrust(loss.partition))?.incarnation, 1);
  await assertSound(loss);
});

test('Redis emptied in the middle of a verification: nothing is marked, and the next one finds all', async () => {
  const loss = await openLoss();
  const runs = await everyState(loss);
  await store(loss);
  await flush(loss);
  // The verification stops at the lock that the caps are read under.
  const held = Promise.withResolvers<void>();
  const free = Promise.withResolvers<void>();
  const blocker = withCapsLocked(loss.db, async () => {
    held.resolve();
    await free.promise;
  });
  await held.promise;
  const verification = assert.rejects(loss.verify(), untrusted);
  const trustKey = `${loss.partition.root}:trust`;
  await until('it to begin', async () => (await loss.partition.redis.hexists(trustKey, 'verifying')) === 1);
  await flush(loss);
  free.resolve();
  await blocker;
  await verification;
  assert.equal(await isTrusted(loss), false);
  const second = await loss.verify();
  // The number of the one that failed is not given again: who was read under it stays refused.
  assert.deepEqual([second?.runsLoaded, second?.incarnation], [7, 2]);
  assert.equal(await statusOf(loss, runs.queued), 'queued');
  await assertSound(loss);
});

test('Postgres away: nobody writes and nothing fails until it is back', async () => {
  const postgres = await startPostgres({ dir: await temporaryDir(), durable: false });
  const url = await postgres.createDatabase('away');
  await migrate(url);
  const loss = await openLoss(url);
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await store(loss);
  await postgres.stop();
  await restart(loss);
  await assert.rejects(
    loss.verify(),
    (error: unknown) => error instanceof SignalboxError && error.code === 'audit_store_unavailable',
  );
  assert.equal(await isTrusted(loss), false);
  await assert.rejects(answer(owner, 1, 20), untrusted);
  await postgres.start();
  const verified = await waitFor(() => loss.verify().catch(() => undefined), {
    what: 'the verification',
    timeoutMs: 60_000,
  });
  assert.equal(verified?.runsLoaded, 0);
  assert.equal((await answer(owner, 1, 20)).code, 'OK');
  await loss.db.destroy();
  await postgres.stop();
});

test('a damaged stored run stops nobody else, and is neither forgotten nor worked on', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const runs = await Promise.all([submitRun(loss), submitRun(loss), submitRun(loss)]);
  const [damaged, keyless, whole] = runs;
  assert.ok(damaged !== undefined && keyless !== undefined && whole !== undefined);
  await store(loss, 10, (record) =>
    record.runId === damaged
      ? { ...record, entries: record.entries.map((entry) => entry.replace('"acme"', '"evil"')) }
      : record,
  );
  await loss.db.deleteFrom('run_keys').where('run_id', '=', keyless).execute();
  await flush(loss);
  const registry = createMetrics({ prefix: 'signalbox_' });
  createTrustMetrics(registry, partition);
  assert.deepEqual(await loss.verify().then((v) => [v?.runsLoaded, v?.runsAside]), [1, 2]);
  assert.deepEqual(await Promise.all(runs.map((id) => statusOf(loss, id))), ['waiting', 'waiting', 'queued']);
  const errors = loss.log.filter(({ level }) => level === 'error' || level === 50);
  assert.deepEqual(new Set(errors.map((line) => line['run_id'])), new Set([damaged, keyless]));
  assert.equal(await sampleOf(registry, 'runs_not_restored'), 2);
  assert.deepEqual((await listLoading(partition, 10)).toSorted(), [damaged, keyless].toSorted());
  await assert.rejects(claim(partition, keyless), /LOADING/);
});

test('a loop verifies what it finds unverified, and goes on', async () => {
  const loss = await openLoss();
  const runId = await submitRun(loss);
  await store(loss);
  await flush(loss);
  const loop = await startLoop(loss.partition, () => loss.verify());
  await until('the run to be queued again', () => loop.added.some((one) => one.runId === runId));
  await loop.stop();
  assert.equal(await isTrusted(loss), true);
});

test('a run whose seq is garbage keeps what it has beyond Postgres', async () => {
  const loss = await openLoss();
  const { partition } = loss;
  const owner = await own(loss, await submitRun(loss));
  const { runId } = owner.run;
  await store(loss);
  await call(owner, 1, 100);
  await answer(owner, 1, 40);
  await partition.redis.hset(`${partition.root}:run:${runId}`, 'seq', 'x');
  await withdrawTrust(partition);
  assert.equal((await loss.verify())?.runsLoaded, 0);
  await releaseRuns(partition, owner.run.leaseId, [runId]);
  assert.equal((await finish(await own(loss, runId), 1)).code, 'OK');
  await store(loss);
  await assertSound(loss);
  const stored = await loss.db.selectFrom('runs').select(['status', 'last_seq']).execute();
  assert.deepEqual(stored, [{ status: 'succeeded', last_seq: 6 }]);
});
