/** Long waits with a real Postgres: what leaves Redis is there, and comes back whole when it is needed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { migrate } from '@signalbox/audit-store';
import type { EventDraft, WaitReason } from '@signalbox/contracts';
import { startPostgres, temporaryDir } from '@signalbox/local';
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
import { allKeys, journal, record } from '../../../packages/run-state/test/inspect.ts';
import { lease, type Owner } from '../../../packages/run-state/test/support.ts';
import {
  answer,
  backUp,
  call,
  claimed,
  enlarge,
  finish,
  finishOff,
  flush,
  type Loss,
  openLoss,
  own,
  restart,
  store,
  submitRun,
  TENANT,
} from '../test/loss.ts';
import { assertSound } from '../test/soundness.ts';
import { atEnd, sampleOf, tickBench, until } from '../test/support.ts';
import { Hibernation, runHibernation } from './hibernation.ts';
import { createHibernationMetrics } from './metrics.ts';

const HOUR = 3_600_000;
const LATER = new Date(Date.now() + HOUR).toISOString();
const FLAG = { requested_at: LATER, by: 'key_1', reason: null };

const LOOP = { clock: systemClock, random: Math.random, heart: { beat: () => undefined } };

const hibernationOf = async (loss: Loss, { hibernateAfterMs = 0, longestWaitMs = HOUR } = {}) => {
  const { partition, db } = loss;
  const bench = await tickBench(partition);
  const metrics = createHibernationMetrics(bench.registry);
  const deps = { ...bench, db, metrics, clock: systemClock, logger: loss.logger };
  const hibernation = new Hibernation({ ...deps, hibernateAfterMs, longestWaitMs });
  return { hibernation, registry: bench.registry, added: bench.added };
};

const park = (owner: Owner, reason: WaitReason, until: string | null) =>
  owner.write({
    announce: [{ type: 'run.parked', data: { reason, until } }],
    after: {
      type: 'park',
      reason,
      wakeSeq: owner.run.wakeSeq,
      dueMs: until === null ? null : Date.parse(until),
      capacity: null,
    },
  });

/** A run that called its model once and waits; Postgres has it. */
const waiting = async (loss: Loss, reason: WaitReason = 'timer', until: string | null = LATER) => {
  const owner = await own(loss, await submitRun(loss));
  await call(owner, 1, 300);
  await answer(owner, 1, 40);
  await park(owner, reason, until);
  await stored(loss, owner);
  return owner;
};

const stored = async (loss: Loss, { run }: Owner): Promise<void> => {
  await store(loss);
  const { seq } = await record(loss.partition, run.runId);
  await markStored(loss.partition, [{ runId: run.runId, seq: Number(seq) }], 60);
};

const partsOf = async ({ partition }: Loss, runId: string): Promise<string[]> =>
  (await allKeys(partition))
    .filter((key) => key.includes(`:${runId}`))
    .map((key) => key.split(runId)[1] ?? '')
    .toSorted();

const restOf = async (owner: Owner): Promise<void> => {
  const events: EventDraft[] = [claimed(owner.run.wakeSeq, true)];
  await owner.write({ results: events, notes: owner.run.notes.length });
};

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
  await loss.partition.redis.hset(runKey(loss.partition, broken), 'seq', 'x');
  await hibernation.turn();
  for (const runId of others) assert.equal((await record(loss.partition, runId))['status'], 'queued');
  const failed = loss.log.filter(({ msg }) => msg === 'a run cannot be loaded');
  assert.deepEqual(
    failed.map((line) => line['run_id']),
    [broken],
  );
  assert.deepEqual(await listLoading(loss.partition, 10), [], 'it is tried again later');
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
