/** What a hand wrote into the keys of one tenant or one run stops nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  acknowledge,
  beginVerification,
  createAuditReader,
  endVerification,
  ensureGroup,
  eraseHot,
  expireWaits,
  findLiveRuns,
  getTenantCaps,
  markStored,
  type Partition,
  readBacklog,
  readDemand,
  readTrust,
  reindexRuns,
  renewLease,
  repair,
  setTenantCaps,
} from '../src/index.ts';
import { keyOf, record, TENANT_DAY } from './inspect.ts';
import { ask, END, GRACE, park, parkedRun, SESSION, settled, sleepAll } from './steps.ts';
import {
  cap,
  claim,
  code,
  freshPartition,
  lease,
  openRedis,
  running,
  submit,
  TENANT,
  untrusted,
} from './support.ts';

const CAPS = `caps:${TENANT}`;
const NO_CAPS = { runNano: null, userDailyNano: null, tenantDailyNano: null, timeZone: 'UTC' };

const set =
  (name: string, ...fields: string[]) =>
  (partition: Partition): Promise<unknown> =>
    partition.redis.hset(keyOf(partition, name), ...fields);

const SPOILED: Readonly<Record<string, (partition: Partition) => Promise<unknown>>> = {
  'how many runs a tenant may have at work': set(CAPS, 'max_runs', 'ten'),
  'how many runs a user may have at work': set(CAPS, 'user_max_runs', ''),
  'a cap of money': set(CAPS, 'tenant_daily', 'much'),
  'the list of users at their cap': (partition) =>
    partition.redis.sadd(keyOf(partition, 'capped_users'), 'no JSON', '[7]'),
  'when memory was looked at': set('pressure', 'at', '', 'woken_at', 'x'),
  'how many slots a process offers': set('slots', 'lease_of_nobody', 'many'),
  'whose turn it was last': (partition) => partition.redis.set(keyOf(partition, 'turn'), 'mine'),
  'how many commits may wait': set('pressure', 'backlog_limit', 'many'),
};

for (const [what, spoil] of Object.entries(SPOILED)) {
  test(`others go on where it is garbage ${what}`, async () => {
    const partition = await freshPartition();
    await cap(partition, { userMaxRuns: 1 });
    await running(partition, { userId: 'u1' });
    await submit(partition, { userId: 'u1' });
    await cap(partition, { tenantDailyNano: 100 });
    await ask(await running(partition), 70);
    await park(await running(partition), { reason: 'capacity', need: 90 });
    await spoil(partition);
    const leaseId = await lease(partition, 5);
    assert.equal((await renewLease(partition, { leaseId, leaseMs: 60_000, slots: 5 })).type, 'live');
    await repair(partition, GRACE);
    await readDemand(partition, Date.now());
    await setTenantCaps(partition, 'other', NO_CAPS);
    const { runId } = await submit(partition, { tenantId: 'other' });
    assert.equal((await ask(await claim(partition, runId, { leaseId }), 70)).code, 'OK');
  });
}

test('a cap that is garbage lets nothing start and nothing be spent', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await set(CAPS, 'max_runs', 'ten', 'tenant_daily', 'much')(partition);
  assert.equal((await ask(owner, 70)).code, 'CAP_MISSING');
  assert.deepEqual((await submit(partition)).activations, []);
  await assert.rejects(getTenantCaps(partition, TENANT), code('cap_missing'));
});

for (const garbage of ['much', 'nan', '-1', '']) {
  test(`a counter of money that is ${JSON.stringify(garbage)} lets nothing be spent where there is a cap`, async () => {
    const partition = await freshPartition();
    await cap(partition, { tenantDailyNano: 100 });
    const owner = await running(partition);
    await ask(owner, 10);
    await set(TENANT_DAY, 'held', garbage)(partition);
    assert.equal((await ask(owner, 1, { id: 'h2', step: 2 })).code, 'DENIED');
    assert.equal((await settled(owner, 10)).code, 'OK');
  });
}

test('a run that began to wait when no clock ever stood is woken', async () => {
  const partition = await freshPartition();
  const { run } = await parkedRun(partition);
  await partition.redis.zadd(keyOf(partition, 'parked'), '-inf', run.runId);
  const { woken } = await expireWaits(partition, { index: 'parked', longestMs: 60_000, skip: 0, limit: 10 });
  assert.equal(woken, 1);
});

test('a parked run that forgot the day it waits for room of is woken all the same', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantDailyNano: 100 });
  await ask(await running(partition), 70);
  const { run } = await parkedRun(partition, { reason: 'capacity', need: 90 });
  await partition.redis.hdel(keyOf(partition, `run:${run.runId}`), 'waits_day');
  assert.equal((await reindexRuns(partition, [run.runId])).putBack, 1);
  assert.equal((await record(partition, run.runId))['status'], 'queued');
});

test('what is stored is acknowledged, whatever the records of its runs or the trust marker say', async () => {
  const partition = await freshPartition();
  await ensureGroup(partition);
  const { runId } = await submit(partition);
  const { runId: bad } = await submit(partition);
  const { runId: lost } = await submit(partition);
  await set(`run:${bad}`, 'stored_seq', 'all')(partition);
  await partition.redis.del(keyOf(partition, `run:${lost}`));
  await partition.redis.set(keyOf(partition, `run:${lost}`), 'a text');
  await set('trust', 'batches', 'many')(partition);
  const stored = [bad, lost, runId].map((id) => ({ runId: id, seq: 1 }));
  await markStored(partition, stored, 60);
  assert.equal((await record(partition, runId))['stored_seq'], '1');
  const reader = createAuditReader(partition, await openRedis(), 'writer');
  const read = await reader.read(10, 1);
  await acknowledge(
    partition,
    read.map(({ streamId }) => streamId),
    1,
  );
  assert.equal((await readBacklog(partition, Date.now())).events, 0);
});

test('a record that is no hash keeps no other run from its wake-up, nor from being stopped', async () => {
  const partition = await freshPartition();
  const due = { dueMs: 1 };
  const [bad, good] = [await parkedRun(partition, due), await parkedRun(partition, due)];
  const key = keyOf(partition, `run:${bad.run.runId}`);
  await partition.redis.del(key);
  await partition.redis.set(key, 'a text');
  assert.equal((await repair(partition, GRACE)).timers, 1);
  const { runIds } = await findLiveRuns(partition, TENANT, { filter: {}, limit: 10 });
  assert.deepEqual(runIds, [good.run.runId]);
});

for (const incarnation of ['first', '1073741824']) {
  test(`a trust marker that tells of incarnation ${incarnation} is none: a verification, which has seen nothing, makes it anew`, async () => {
    const partition = await freshPartition();
    await set('trust', 'incarnation', incarnation)(partition);
    await assert.rejects(submit(partition), code('state_untrusted'));
    assert.equal(await readTrust(partition), null);
    const verification = await beginVerification(partition);
    assert.deepEqual(verification.seen, { incarnation: -1, batches: 0 });
    await endVerification(partition, verification, { incarnation: 3, batches: 0 });
    assert.equal((await running(partition)).run.epoch, 3 * 2 ** 32 + 1);
  });
}

test('a run whose first event is damaged keeps no other of its session from being found, to be stopped', async () => {
  const partition = await freshPartition();
  const [bad, good] = [await parkedRun(partition), await parkedRun(partition)];
  await partition.redis.lset(keyOf(partition, `run:${bad.run.runId}:events`), 0, 'no event');
  const { runIds } = await findLiveRuns(partition, TENANT, { filter: { session_id: SESSION }, limit: 10 });
  assert.deepEqual(runIds, [good.run.runId]);
});

test('a run whose first event is damaged keeps no other from falling asleep', async () => {
  const partition = await freshPartition();
  const [bad, good] = [await parkedRun(partition), await parkedRun(partition)];
  for (const damaged of ['no event', `${'0'.repeat(64)}{"data":null}`]) {
    await partition.redis.lset(keyOf(partition, `run:${bad.run.runId}:events`), 0, damaged);
    assert.deepEqual(await sleepAll(partition), damaged === 'no event' ? [good.run.runId] : []);
  }
});

test('a record that is no hash keeps no other from its room, nor from being erased', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantDailyNano: 100 });
  const holder = await running(partition);
  await ask(holder, 70);
  const waiting = { reason: 'capacity', need: 60 } as const;
  const [bad, good] = [await parkedRun(partition, waiting), await parkedRun(partition, waiting)];
  const ended = await running(partition);
  await ended.write(END);
  const key = keyOf(partition, `run:${bad.run.runId}`);
  await partition.redis.del(key);
  await partition.redis.set(key, 'a text');
  await partition.redis.zadd(keyOf(partition, 'promised'), 1, bad.run.runId);
  await settled(holder, 10);
  assert.equal((await record(partition, good.run.runId))['status'], 'queued');
  const erased = [bad, ended].map(({ run: { runId } }) => ({ runId, erasedAt: new Date(0) }));
  await eraseHot(partition, erased);
  assert.equal((await record(partition, ended.run.runId))['key'], undefined);
});

test('a key of another type that is not made anew is told of to whoever meets it, and to him alone', async () => {
  const partition = await freshPartition();
  const idempotency = [{ key_digest: 'd', fingerprint: 'f' }];
  const key = keyOf(partition, `idem:${TENANT}:d`);
  await partition.redis.rpush(key, 'a list');
  for (const _ of ['walked for', 'walked for in vain'])
    await assert.rejects(submit(partition, { idempotency }), code('internal'));
  assert.equal((await ask(await running(partition), 70)).code, 'OK');
  assert.deepEqual(await partition.redis.lrange(key, 0, -1), ['a list']);
});

test('while one walks for a key of another type, others that meet it are to try again', async () => {
  const partition = await freshPartition();
  await submit(partition);
  const key = keyOf(partition, `busy:${TENANT}`);
  await partition.redis.del(key);
  await partition.redis.set(key, 'a text');
  await partition.redis.set(keyOf(partition, 'strange_walk'), 'under way');
  await assert.rejects(submit(partition), (error) => code('state_unavailable')(error) && error.retryable);
  await partition.redis.del(keyOf(partition, 'strange_walk'));
  await assert.rejects(submit(partition), untrusted);
  assert.equal(await partition.redis.exists(key, keyOf(partition, 'strange_walk')), 0);
});
