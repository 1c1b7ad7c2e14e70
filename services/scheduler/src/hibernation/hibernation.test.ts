/** Long waits with a real Postgres: what leaves Redis is there, and comes back whole when it is needed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { migrate } from '@signalbox/audit-store';
import { startPostgres, temporaryDir, until } from '@signalbox/local';
import {
  claimRun,
  listLoading,
  markStored,
  readDemand,
  repair,
  requestAbort,
  runKey,
  wakeRun,
} from '@signalbox/run-state';
import { systemClock } from '@signalbox/runtime';
import { journal, record } from '../../../../packages/run-state/test/inspect.ts';
import { lease } from '../../../../packages/run-state/test/support.ts';
import {
  answer,
  call,
  finishOff,
  type Loss,
  openLoss,
  own,
  store,
  submitRun,
  TENANT,
} from '../../test/loss.ts';
import { assertSound } from '../../test/soundness.ts';
import { atEnd, sampleOf } from '../../test/support.ts';
import { runHibernation } from './hibernation.ts';
import { hibernationOf, LATER, park, partsOf, waiting } from '../../test/hibernating.ts';

const FLAG = { requested_at: LATER, by: 'key_1', reason: null };
const LOOP = { clock: systemClock, random: Math.random, heart: { beat: () => undefined } };

test('a parked run sleeps, wakes, goes on from its journal and ends; every event is in Postgres once', async () => {
  const loss = await openLoss();
  const { hibernation, registry, added } = await hibernationOf(loss);
  const { run } = await waiting(loss);
  const { runId } = run;
  const before = await journal(loss.partition, runId);
  await hibernation.turn();
  assert.deepEqual(await partsOf(loss, runId), ['']);
  await hibernation.turn();
  await assertSound(loss);
  assert.equal(await sampleOf(registry, 'runs_hibernated_total'), 1);

  await loss.partition.redis.zadd(`${loss.partition.root}:timers`, 1, runId);
  await repair(loss.partition, { limit: 10, graceMs: 60_000 });
  await assertSound(loss);
  await hibernation.turn();
  assert.deepEqual([await sampleOf(registry, 'runs_loaded_total'), added.length], [1, 1]);
  assert.deepEqual(await journal(loss.partition, runId), before);
  assert.deepEqual(await partsOf(loss, runId), ['', ':events', ':holds', ':inbox']);
  await assertSound(loss);

  const outcome = await claimRun(loss.partition, {
    runId,
    wakeSeq: added[0]?.wakeSeq ?? 0,
    leaseId: await lease(loss.partition, 1),
    token: 't',
  });
  assert.equal(outcome.type, 'claimed');
  const { reply } = await finishOffClaimed(loss, runId);
  assert.equal(reply.code, 'OK');
  await store(loss);
  const rows = await loss.db.selectFrom('runs').selectAll().where('id', '=', runId).execute();
  assert.deepEqual(
    rows.map(({ status, cost_observed_nano: nano }) => [status, nano]),
    [['succeeded', 40]],
  );
  await assertSound(loss);
});

/** Its lease is taken from the first claimer. */
const finishOffClaimed = async (loss: Loss, runId: string) => {
  const { owner } = await record(loss.partition, runId);
  await loss.partition.redis.zadd(`${loss.partition.root}:leases`, 'XX', 1, owner ?? '');
  await repair(loss.partition, { limit: 10, graceMs: 60_000 });
  return finishOff(loss, runId, []);
};

test('every reason to wait sleeps, more than a turn takes, and an abort of each is written by its next owner', async () => {
  const loss = await openLoss();
  const { hibernation } = await hibernationOf(loss);
  const reasons = ['timer', 'approval', 'children', 'input', 'capacity'] as const;
  const runs = await Promise.all(
    reasons.map(async (reason) => (await waiting(loss, reason, reason === 'timer' ? LATER : null)).run.runId),
  );
  await hibernation.turn();
  const { partition } = loss;
  for (const runId of runs) {
    assert.deepEqual(await partsOf(loss, runId), ['']);
    await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
  }
  assert.equal((await readDemand(partition, Date.now())).parked, runs.length);
  await hibernation.turn();
  assert.equal((await readDemand(partition, Date.now())).parked, 0);
  for (const runId of runs) {
    const owner = await own(loss, runId);
    assert.equal((await park(owner, 'timer', null)).code, 'ABORTED');
  }
});

/** A parked run one of whose events Postgres could only set aside. */
const withStub = async (loss: Loss): Promise<string> => {
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await answer(owner, 1, 40);
  await park(owner, 'timer', LATER);
  const { runId } = owner.run;
  const damage = (entry: string): string => entry.replace('"step":1', '"step":2');
  await store(loss, 100, (record) => ({ ...record, entries: record.entries.map(damage) }));
  const stubs = loss.db
    .selectFrom('audit_events')
    .select('seq')
    .where('run_id', '=', runId)
    .where('body', 'is', null);
  assert.ok((await stubs.execute()).length > 0);
  await markStored(loss.partition, [{ runId, seq: 5 }], 60);
  return runId;
};

test('what Postgres has with a hole, or with another head, stays in Redis', async () => {
  const loss = await openLoss();
  const { hibernation } = await hibernationOf(loss);
  const [keyless, forked] = [await waiting(loss), await waiting(loss)].map(({ run }) => run.runId);
  assert.ok(keyless !== undefined && forked !== undefined);
  const stub = await withStub(loss);
  await loss.db.deleteFrom('run_keys').where('run_id', '=', keyless).execute();
  await loss.partition.redis.hset(runKey(loss.partition, forked), 'head', 'f'.repeat(64));
  await hibernation.turn();
  for (const runId of [stub, keyless, forked]) {
    assert.equal((await journal(loss.partition, runId)).length, 5, runId);
  }
});

test('Postgres away: parked runs stay as they are, woken ones wait; when it is back they go on', async () => {
  const postgres = await startPostgres({ dir: await temporaryDir(), durable: false });
  atEnd(() => postgres.stop('immediate'));
  const url = await postgres.createDatabase('away');
  await migrate(url);
  const loss = await openLoss(url);
  const { hibernation } = await hibernationOf(loss);
  const asleep = await waiting(loss);
  await hibernation.turn();
  const hot = await waiting(loss);
  await postgres.stop();
  await wakeRun(loss.partition, asleep.run.runId, 'timer');
  const stopping = new AbortController();
  const running = runHibernation({ ...loss, ...LOOP, hibernation, isLeader: () => true }, stopping.signal);
  await until('two turns to fail', () => {
    const failed = loss.log.filter(({ msg }) => msg === 'parked runs were not looked after');
    return failed.length >= 2;
  });
  assert.deepEqual(await listLoading(loss.partition, 10), [asleep.run.runId]);
  assert.equal((await journal(loss.partition, hot.run.runId)).length, 5);
  await postgres.start();
  await until('the woken run to be queued', async () => {
    return (await record(loss.partition, asleep.run.runId))['status'] === 'queued';
  });
  await until('the other to sleep', async () => (await journal(loss.partition, hot.run.runId)).length === 0);
  stopping.abort();
  await running;
  await loss.db.destroy();
});

test('a wait that is too long ends the run as timeout, also one that sleeps', async () => {
  const loss = await openLoss();
  const { hibernation, registry } = await hibernationOf(loss, { longestWaitMs: 1 });
  const patient = await hibernationOf(loss);
  const ahead = await waiting(loss);
  const asleep = await waiting(loss, 'approval', null);
  await patient.hibernation.turn();
  const awake = await waiting(loss, 'input', null);
  for (let turns = 0; turns < 2; turns += 1) await hibernation.turn();
  assert.equal(await sampleOf(registry, 'waits_expired_total'), 2);
  for (const { run } of [asleep, awake]) {
    const owner = await own(loss, run.runId);
    const [note] = owner.run.notes;
    assert.ok(note?.type === 'woken' && note.expired_since !== undefined);
  }
  assert.equal((await record(loss.partition, ahead.run.runId))['status'], 'waiting');
});

test('a loop that does not lead leaves parked runs alone', async () => {
  const loss = await openLoss();
  const { hibernation } = await hibernationOf(loss);
  const { run } = await waiting(loss);
  const asked: number[] = [];
  const stopping = new AbortController();
  const isLeader = (): boolean => {
    asked.push(1);
    return false;
  };
  const running = runHibernation({ ...loss, ...LOOP, hibernation, isLeader }, stopping.signal);
  await until('it to be asked twice', () => asked.length >= 2);
  stopping.abort();
  await running;
  assert.equal((await journal(loss.partition, run.runId)).length, 5);
});
