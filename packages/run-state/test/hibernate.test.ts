import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { newId, SignalboxError, type WaitReason } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD } from '@signalbox/engine';
import {
  awakenRun,
  claimRun,
  expireWaits,
  findLiveRuns,
  hibernateRuns,
  listLoading,
  listSleepy,
  type LoadableRun,
  markStored,
  type Partition,
  postponeLoading,
  readAbort,
  readDemand,
  readEntries,
  readLiveHeads,
  readRun,
  repair,
  requestAbort,
  setTenantCaps,
  wakeRun,
} from '../src/index.ts';
import { DAY, parked, submitted } from './drafts.ts';
import { allKeys, journal, keyOf, money, record } from './inspect.ts';
import { claim, freshPartition, lease, type Owner, running, settle, submit, TENANT } from './support.ts';

const ALL = { parkedMs: 0, skip: 0, limit: 100 };
const FLAG = { requested_at: '2026-01-02T00:00:00.000Z', by: 'key_1', reason: null };
const SESSION = 'b7e0b0e8-5d1c-4c58-9b3e-1d1f2f3a4b5c';

interface ParkOptions {
  readonly reason?: WaitReason;
  readonly dueMs?: number | null;
  readonly need?: number;
}

const park = (owner: Owner, { reason = 'timer', dueMs = null, need }: ParkOptions = {}) =>
  owner.write({
    announce: [parked(reason)],
    after: {
      type: 'park',
      reason,
      wakeSeq: owner.run.wakeSeq,
      dueMs,
      capacity: need === undefined ? null : { scope: 'tenant_day', needNano: need, day: DAY },
    },
  });

/** A run of a session with content, parked; Postgres is said to have all of it. */
const parkedRun = async (partition: Partition, options: ParkOptions = {}, stored = true) => {
  const { runId, entry } = first();
  await submit(partition, {
    runId,
    userId: 'u1',
    entries: [entry],
    contents: [['sha256:a', 'x'.repeat(5000)]],
  });
  const owner = await claim(partition, runId);
  await park(owner, options);
  if (stored) await markStored(partition, [{ runId, seq: 2 }], 60);
  return owner;
};

const first = (): { runId: string; entry: string } => {
  const runId = newId('run');
  const { entries } = appendDrafts(EMPTY_HEAD, [submitted({ tenant_id: TENANT, session_id: SESSION })], {
    runId,
    epoch: 0,
    ts: '2026-01-01T00:00:00.000Z',
    actor: { type: 'user', id: 'u1' },
  });
  return { runId, entry: entries[0] ?? '' };
};

/** What the scheduler does, for a Postgres that has everything. */
const sleepAll = async (partition: Partition): Promise<string[]> =>
  hibernateRuns(partition, (await listSleepy(partition, ALL)).runs);

/** A run as Postgres would have it; of what is here before it sleeps. */
const storedCopy = async (partition: Partition, runId: string): Promise<LoadableRun> => {
  const entries = await journal(partition, runId);
  const { user = '', rank, key = '', epoch, head = '' } = await record(partition, runId);
  return {
    runId,
    tenantId: TENANT,
    userId: user,
    agent: 'support',
    rootRunId: runId,
    priority: rank === '1' ? 'normal' : 'high',
    capNano: null,
    wrappedKey: key,
    epoch: Number(epoch),
    seq: entries.length,
    head,
    wakeSeq: 1,
    createdMs: 1,
    status: 'waiting',
    waitingFor: 'timer',
    dueMs: null,
    parkedMs: 1,
    abort: null,
    entries,
    holds: [],
    contents: new Map([['sha256:a', 'x'.repeat(5000)]]),
  };
};

const keysOf = async (partition: Partition, runId: string): Promise<string[]> =>
  (await allKeys(partition)).filter((key) => key.includes(runId)).toSorted();

test('of a run that hibernates one small record is left, and it is still found', async () => {
  const partition = await freshPartition();
  const { run } = await parkedRun(partition, { dueMs: Date.now() + 3_600_000 });
  const { runId } = run;
  assert.deepEqual(await sleepAll(partition), [runId]);

  assert.deepEqual(await keysOf(partition, runId), [keyOf(partition, `run:${runId}`)]);
  const here = await record(partition, runId);
  assert.deepEqual([here['status'], here['reason'], here['seq']], ['waiting', 'timer', '2']);
  assert.equal(here['key'], undefined, 'the key of its contents is nowhere but in Postgres');
  assert.equal(await partition.redis.object('ENCODING', keyOf(partition, `run:${runId}`)), 'listpack');
  assert.ok(Number(await partition.redis.memory('USAGE', keyOf(partition, `run:${runId}`))) < 700);

  assert.equal(await readRun(partition, TENANT, runId), null);
  assert.equal(await readEntries(partition, TENANT, { runId, after: 0, limit: 10 }), null);
  assert.deepEqual(await readEntries(partition, TENANT, { runId, after: 2, limit: 10 }), []);
  assert.equal(await readEntries(partition, 'other', { runId, after: 2, limit: 10 }), null);
  const { parked: waiting, delayed, runnable } = await readDemand(partition, Date.now());
  assert.deepEqual([waiting, delayed, runnable], [1, 1, 0]);
  assert.deepEqual([...(await readLiveHeads(partition))], [[runId, 2]]);
  for (const filter of [
    { status: 'waiting' as const, agent: 'support', userId: 'u1' },
    { sessionId: SESSION },
    { createdAfter: '2026-01-01T00:00:00.000Z', createdBefore: '2026-01-01T00:00:00.001Z' },
  ]) {
    assert.deepEqual((await findLiveRuns(partition, TENANT, { filter, limit: 10 })).runIds, [runId]);
  }
  const others = { sessionId: 'other' };
  assert.deepEqual((await findLiveRuns(partition, TENANT, { filter: others, limit: 10 })).runIds, []);
});

test('it stays as it is while its events are not stored, it has an open hold, or it is not parked for long', async () => {
  const partition = await freshPartition();
  await parkedRun(partition, {}, false);
  assert.deepEqual(await listSleepy(partition, ALL), { seen: 1, runs: [] });

  const holding = await running(partition);
  await holding.write({ announce: [parked('timer')], hold: { id: 'h', amount: 5, day: DAY } });
  const last = await claimOf(holding);
  await park(last);
  await markStored(partition, [{ runId: holding.run.runId, seq: 3 }], 60);
  assert.equal((await listSleepy(partition, ALL)).runs.length, 1);
  assert.deepEqual(await sleepAll(partition), []);
  assert.ok((await journal(partition, holding.run.runId)).length > 0);

  const recent = await parkedRun(partition);
  assert.deepEqual((await listSleepy(partition, { ...ALL, parkedMs: 60_000 })).seen, 0);
  assert.deepEqual(await sleepAll(partition), [recent.run.runId]);
});

/** The same owner: its journal has grown. */
const claimOf = (owner: Owner): Promise<Owner> => Promise.resolve(owner);

test('a run that was woken or went on since Postgres was asked does not sleep', async () => {
  const partition = await freshPartition();
  const [woken, resumed, same] = [
    await parkedRun(partition),
    await parkedRun(partition),
    await parkedRun(partition),
  ];
  const { runs } = await listSleepy(partition, ALL);
  await wakeRun(partition, woken.run.runId, 'timer');
  await wakeRun(partition, resumed.run.runId, 'timer');
  const owner = await claim(partition, resumed.run.runId);
  await park(owner);
  assert.deepEqual(await hibernateRuns(partition, runs), [same.run.runId]);
  const [entry] = runs.filter(({ runId }) => runId === same.run.runId);
  assert.deepEqual(await hibernateRuns(partition, entry === undefined ? [] : [entry]), [], 'nor twice');
});

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

test('waits that last too long are ended by a note, awake or asleep; a timer that lies ahead is none', async () => {
  const partition = await freshPartition();
  const ahead = await parkedRun(partition, { dueMs: Date.now() + 3_600_000 });
  const asleep = await parkedRun(partition, { reason: 'approval' });
  const stored = await storedCopy(partition, asleep.run.runId);
  await sleepAll(partition);
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
    [2, 1, [{ runId: awake.run.runId, wakeSeq: 2 }]],
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
  for (const { run } of [ahead, aheadToo]) {
    assert.equal((await record(partition, run.runId))['status'], 'waiting');
  }
});

test('a long user id or session is no reason to be lost', async () => {
  const partition = await freshPartition();
  const { runId, entry } = first();
  await submit(partition, { runId, userId: 'u'.repeat(256), entries: [entry], dueMs: Date.now() + 60_000 });
  await markStored(partition, [{ runId, seq: 1 }], 60);
  assert.deepEqual(await sleepAll(partition), [runId]);
  assert.equal((await record(partition, runId))['user'], 'u'.repeat(256));
});

test('nothing sleeps, wakes or expires on a server that is not verified', async () => {
  const partition = await freshPartition();
  const { run } = await parkedRun(partition);
  const stored = await storedCopy(partition, run.runId);
  const { runs } = await listSleepy(partition, ALL);
  await partition.redis.del(keyOf(partition, 'trust'));
  const untrusted = (error: unknown): boolean =>
    error instanceof SignalboxError && error.code === 'state_untrusted';
  await assert.rejects(hibernateRuns(partition, runs), untrusted);
  await assert.rejects(awakenRun(partition, stored), untrusted);
  await assert.rejects(
    expireWaits(partition, { index: 'parked', longestMs: 0, skip: 0, limit: 10 }),
    untrusted,
  );
  assert.equal((await journal(partition, run.runId)).length, 2);
});
