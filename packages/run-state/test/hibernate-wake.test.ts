/** How a run that hibernates goes on: woken, loaded from Postgres, and as it was before. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import {
  awakenRun,
  claimRun,
  expireWaits,
  listLoading,
  type LoadableRun,
  markStored,
  postponeLoading,
  readAbort,
  readDemand,
  readLiveHeads,
  repair,
  requestAbort,
  setTenantCaps,
  wakeRun,
} from '../src/index.ts';
import { DAY, FLAG, parked } from './drafts.ts';
import { keyOf, money, record } from './inspect.ts';
import { park, parkedRun, sleepAll, storedCopy } from './steps.ts';
import { claim, freshPartition, lease, running, settle, TENANT } from './support.ts';

test('woken, it waits to be loaded and nobody can have it; loaded, it is as it was, with its note', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 10);
  const { run } = await parkedRun(partition);
  const { runId } = run;
  const stored = await storedCopy(partition, runId);
  await sleepAll(partition);
  assert.deepEqual((await awakenRun(partition, stored)).code, 'GONE', 'it sleeps on until it is woken');

  const { woken, activations } = await wakeRun(partition, runId, 'input');
  assert.deepEqual([woken, activations], [true, []]);
  for (const wakeSeq of [null, 1, 2]) {
    const outcome = await claimRun(partition, { runId, wakeSeq, leaseId, token: randomUUID() });
    assert.deepEqual(outcome, { type: 'refused', why: 'LOADING' });
  }
  assert.deepEqual(await listLoading(partition, 10), [runId]);
  assert.equal((await readDemand(partition, Date.now())).parked, 1);
  assert.deepEqual([...(await readLiveHeads(partition))], [[runId, 2]]);
  await wakeRun(partition, runId, 'input');
  assert.deepEqual(await listLoading(partition, 10), [runId], 'woken twice, it is loaded once');

  assert.equal((await awakenRun(partition, { ...stored, seq: 1 })).code, 'BEHIND');
  const loaded = await awakenRun(partition, stored);
  assert.equal(loaded.code, 'LOADED');
  const [activation] = loaded.activations;
  assert.deepEqual(loaded.activations, [{ runId, wakeSeq: 3 }]);
  assert.equal((await awakenRun(partition, stored)).code, 'GONE');
  assert.deepEqual(await listLoading(partition, 10), []);
  const owner = await claim(partition, runId, { wakeSeq: activation?.wakeSeq ?? 0, leaseId });
  assert.deepEqual(
    [owner.run.epoch, owner.run.claims, owner.run.wrappedKey],
    [run.epoch + 1, 1, run.wrappedKey],
  );
  assert.deepEqual([owner.run.entries, [...owner.run.contents]], [stored.entries, [...stored.contents]]);
  const note = { type: 'woken', reason: 'input' };
  assert.deepEqual(owner.run.notes, [note, note]);
  const here = await record(partition, runId);
  assert.deepEqual([here['asleep'], here['session'], here['created']], [undefined, undefined, undefined]);
  assert.equal((await park(owner)).code, 'OK');
});

test('an abort is taken at once, is known before the run is loaded, and outlives the loading', async () => {
  const partition = await freshPartition();
  const { run } = await parkedRun(partition, { dueMs: Date.now() + 3_600_000 });
  const { runId } = run;
  const stored = await storedCopy(partition, runId);
  await sleepAll(partition);
  const asked = await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
  assert.equal(asked.status, 'waiting');
  assert.deepEqual(await readAbort(partition, runId), FLAG);
  assert.equal((await readDemand(partition, Date.now())).delayed, 0);
  assert.deepEqual((await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG })).flag, FLAG);
  await awakenRun(partition, stored);
  const owner = await claim(partition, runId);
  assert.deepEqual(
    owner.run.notes.map(({ type }) => type),
    ['abort'],
  );
  assert.equal((await park(owner)).code, 'ABORTED');
});

test('under pressure a woken run is not loaded, unless it is to stop (R9)', async () => {
  const partition = await freshPartition();
  const [woken, stopped] = [await parkedRun(partition), await parkedRun(partition)];
  const copies = [
    await storedCopy(partition, woken.run.runId),
    await storedCopy(partition, stopped.run.runId),
  ];
  await sleepAll(partition);
  await wakeRun(partition, woken.run.runId, 'input');
  await requestAbort(partition, { runId: stopped.run.runId, tenantId: TENANT, flag: FLAG });
  await partition.redis.hset(keyOf(partition, 'pressure'), 'backlog_limit', 1);
  const codes = await Promise.all(copies.map((copy) => awakenRun(partition, copy)));
  assert.deepEqual(
    codes.map(({ code }) => code),
    ['PRESSURE', 'LOADED'],
  );
  await partition.redis.hdel(keyOf(partition, 'pressure'), 'backlog_limit');
  const [copy] = copies;
  assert.ok(copy !== undefined);
  assert.equal((await awakenRun(partition, copy)).code, 'LOADED');
});

test('a timer wakes a run that hibernates, and one that cannot be loaded stands in nobody’s way', async () => {
  const partition = await freshPartition();
  await parkedRun(partition, { dueMs: Date.now() + 500_000 });
  const due = [await parkedRun(partition), await parkedRun(partition)].map(({ run }) => run.runId);
  await sleepAll(partition);
  for (const runId of due) await partition.redis.zadd(keyOf(partition, 'timers'), 1, runId);
  assert.equal((await repair(partition, { limit: 100, graceMs: 0 })).timers, 2);
  assert.deepEqual((await listLoading(partition, 10)).toSorted(), due.toSorted());
  await postponeLoading(partition, due[0] ?? '', 60_000);
  assert.deepEqual(await listLoading(partition, 10), [due[1]]);
});

test('a waiter that hibernates keeps its place and is woken by a settlement, for the room it needs', async () => {
  const partition = await freshPartition();
  await setTenantCaps(partition, TENANT, { tenantDailyNano: 1000 });
  const holder = await running(partition);
  await holder.write({ announce: [parked('timer')], hold: { id: 'h', amount: 900, day: DAY } });
  const waiters = [];
  for (let n = 0; n < 3; n += 1) {
    waiters.push((await parkedRun(partition, { reason: 'capacity', need: 400 })).run.runId);
  }
  const copies = new Map<string, LoadableRun>();
  for (const runId of waiters) copies.set(runId, await storedCopy(partition, runId));
  assert.deepEqual((await sleepAll(partition)).toSorted(), waiters.toSorted());
  for (const runId of waiters) {
    assert.equal(await partition.redis.object('ENCODING', keyOf(partition, `run:${runId}`)), 'listpack');
  }
  await holder.write({ results: [parked('timer')], settlements: [settle('h', 100)] });
  assert.deepEqual(await listLoading(partition, 10), waiters.slice(0, 2), 'two fit, the oldest');
  const promised = keyOf(partition, `spend:tenant:${TENANT}:${DAY}`);
  assert.equal(await partition.redis.hget(promised, 'promised'), '800');

  const [firstId = ''] = waiters;
  const stored = copies.get(firstId);
  assert.ok(stored !== undefined);
  await awakenRun(partition, stored);
  const owner = await claim(partition, firstId);
  assert.equal(await partition.redis.hget(promised, 'promised'), '800', 'its room is kept for it');
  const reply = await owner.write({
    announce: [parked('timer')],
    hold: { id: 'w', amount: 400, day: DAY },
  });
  assert.equal(reply.code, 'OK');
  assert.equal(await partition.redis.hget(promised, 'promised'), '400');
});

test('what a run counts as the scope of its tree survives its sleep', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { capNano: 1000 });
  const { runId } = owner.run;
  await owner.write({ announce: [parked('timer')], hold: { id: 'h', amount: 300, day: DAY } });
  await owner.write({ results: [parked('timer')], settlements: [settle('h', 250)] });
  await park(owner);
  await markStored(partition, [{ runId, seq: 4 }], 60);
  const stored = { ...(await storedCopy(partition, runId)), capNano: 1000 };
  await sleepAll(partition);
  // A child holds against it meanwhile.
  const child = await running(partition, { rootRunId: runId });
  await child.write({ announce: [parked('timer')], hold: { id: 'c', amount: 700, day: DAY } });
  assert.deepEqual(await money(partition, `run:${runId}`), { spent: 250, held: 700 });
  await wakeRun(partition, runId, 'children');
  await awakenRun(partition, stored);
  assert.deepEqual(await money(partition, `run:${runId}`), { spent: 250, held: 700 });
});

test('waits that last too long are ended by a note, awake or asleep; a timer is none, ahead or due', async () => {
  const partition = await freshPartition();
  const ahead = await parkedRun(partition, { dueMs: Date.now() + 3_600_000 });
  const asleep = await parkedRun(partition, { reason: 'approval' });
  const stored = await storedCopy(partition, asleep.run.runId);
  await sleepAll(partition);
  const due = await parkedRun(partition, { dueMs: Date.now() - 1 }, false);
  const [aheadToo, awake] = [
    await parkedRun(partition, { dueMs: Date.now() + 3_600_000 }, false),
    await parkedRun(partition, { reason: 'input', dueMs: Date.now() + 3_600_000 }, false),
  ];
  const page = { skip: 0, limit: 10 };
  const month = { ...page, longestMs: 30 * 86_400_000 };
  assert.deepEqual((await expireWaits(partition, { ...month, index: 'parked' })).seen, 0);

  const here = await expireWaits(partition, { ...page, index: 'parked', longestMs: 0 });
  assert.deepEqual(
    [here.seen, here.woken, here.activations],
    [3, 1, [{ runId: awake.run.runId, wakeSeq: 2 }]],
  );
  const there = await expireWaits(partition, { ...page, index: 'asleep', longestMs: 0 });
  assert.deepEqual([there.seen, there.woken], [2, 1]);
  assert.deepEqual(await listLoading(partition, 10), [asleep.run.runId]);
  await awakenRun(partition, stored);
  for (const [runId, reason] of [
    [awake.run.runId, 'input'],
    [asleep.run.runId, 'approval'],
  ] as const) {
    const [note] = (await claim(partition, runId)).run.notes;
    assert.ok(note?.type === 'woken' && note.reason === reason);
    assert.ok(Math.abs((note.expired_since ?? 0) - Date.now()) < 60_000);
  }
  for (const { run } of [ahead, aheadToo, due]) {
    assert.equal((await record(partition, run.runId))['status'], 'waiting');
  }
});
