import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { testRedisUrl } from '@signalbox/local';
import {
  acknowledge,
  claimRun,
  closeLease,
  createAuditReader,
  disconnect,
  ensureGroup,
  heldRuns,
  markStored,
  openLease,
  openPartition,
  type Partition,
  readBacklog,
  releaseRuns,
  renewLease,
  repair,
  requestAbort,
  submitRun,
  wakeRun,
} from '../src/index.ts';
import { claimed, completed, DAY, FLAG, requested } from './drafts.ts';
import { assertNoTraces, auditedEntries, eventTypes, journal, money, record, TENANT_DAY } from './inspect.ts';
import { ask, END, GRACE } from './steps.ts';
import {
  claim,
  code,
  expireLease,
  freshPartition,
  leaderOn,
  lease,
  makeSubmission,
  openRedis,
  type Owner,
  ownerOf,
  running,
  settle,
  submit,
  TENANT,
} from './support.ts';
import { startProxy, type TcpProxy } from './tcp-proxy.ts';

/** Every reply of a write gets lost once; ioredis sends the command again, and there is one copy of it. */
const closing: (() => Promise<void>)[] = [];
after(async () => {
  for (const close of closing) await close();
});

/** So that the reply that gets lost is never that of a script the server does not know. */
const loadScripts = async (partition: Partition): Promise<void> => {
  const leaseId = await lease(partition);
  await repair(partition, { limit: 1, graceMs: 60_000 });
  await releaseRuns(partition, leaseId, []);
  await closeLease(partition, leaseId);
  await markStored(partition, [{ runId: 'none', seq: 1 }], 1);
  await acknowledge(partition, ['0-1']);
  const leader = leaderOn(partition, 'before');
  await leader.hold();
  await leader.release();
  const owner = await running(partition);
  const { runId } = owner.run;
  await owner.write({ results: [claimed()] });
  await wakeRun(partition, runId, 'input');
  await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
};

/** The same partition twice: past the proxy, to look, and through it, to write. */
const throughProxy = async () => {
  const straight = await freshPartition();
  await loadScripts(straight);
  const url = new URL(await testRedisUrl());
  const proxy = await startProxy({ host: url.hostname, port: Number(url.port) });
  const redis = await openRedis('state', proxy.url);
  closing.push(async () => {
    await disconnect(redis);
    await proxy.close();
  });
  await redis.ping();
  const partition = { ...openPartition(redis), root: straight.root };
  return { straight, partition, proxy };
};

/** A run at work, whose owner writes through the proxy. */
const runningThrough = async (straight: Partition, partition: Partition): Promise<Owner> => {
  const { run, head } = await running(straight);
  return ownerOf(partition, run, head);
};

const losing = async <T>(proxy: TcpProxy, work: () => Promise<T>, times = 1): Promise<T> => {
  const before = proxy.lost();
  proxy.loseReplies(times);
  const result = await work();
  assert.equal(proxy.lost() - before, times, 'a reply was lost');
  return result;
};

test('a commit whose reply is lost is written once, and its writer learns that it was', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const owner = await runningThrough(straight, partition);
  const { runId } = owner.run;
  const opening = {
    results: [claimed()],
    announce: [requested(1)],
    hold: { id: 'h1', amount: 50, day: DAY },
  };
  assert.equal((await losing(proxy, () => owner.write(opening))).code, 'OK');
  assert.deepEqual(await money(straight, TENANT_DAY), { spent: 0, held: 50 });
  const next = {
    results: [completed(1)],
    settlements: [settle('h1', 20)],
    announce: [requested(2)],
    hold: { id: 'h2', amount: 30, day: DAY },
  };
  assert.equal((await losing(proxy, () => owner.write(next), 2)).code, 'OK', 'lost twice');
  assert.deepEqual(await money(straight, TENANT_DAY), { spent: 20, held: 30 });
  const last = { results: [completed(2)], settlements: [settle('h2', 30)], ...END };
  assert.equal((await losing(proxy, () => owner.write(last))).code, 'OK');
  assert.deepEqual(await money(straight, TENANT_DAY), { spent: 50, held: 0 });
  assert.deepEqual(await eventTypes(straight, runId), [
    'run.submitted',
    'run.claimed',
    'llm.requested',
    'llm.completed',
    'llm.requested',
    'llm.completed',
    'run.succeeded',
  ]);
  assert.deepEqual(await auditedEntries(straight, runId), await journal(straight, runId));
  await assertNoTraces(straight, runId);
});

test('a submit whose reply is lost makes one run', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const made = makeSubmission({ idempotency: [{ key_digest: 'k', fingerprint: 'f' }] });
  const outcome = await losing(proxy, () => submitRun(partition, made.submission, { backlogLimit: 10 }));
  assert.deepEqual(outcome, { type: 'exists', runId: made.runId });
  assert.deepEqual(await eventTypes(straight, made.runId), ['run.submitted']);
  assert.equal((await auditedEntries(straight, made.runId)).length, 1);
});

test('a claim whose reply is lost raises the epoch once', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const { runId } = await submit(straight);
  const request = { runId, wakeSeq: 1, leaseId: await lease(straight), token: randomUUID() };
  const outcome = await losing(proxy, () => claimRun(partition, request));
  assert.ok(outcome.type === 'claimed');
  assert.deepEqual([outcome.run.epoch, outcome.run.claims], [1, 1]);
});

test('an abort whose reply is lost leaves one note', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const { runId } = await submit(straight);
  const stop = { runId, tenantId: TENANT, flag: FLAG };
  assert.deepEqual((await losing(proxy, () => requestAbort(partition, stop))).flag, FLAG);
  assert.equal((await claim(straight, runId)).run.notes.length, 1);
});

test('a wake whose reply is lost wakes all the same; a second note tells the owner nothing new', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const { runId } = await submit(straight, { dueMs: Date.now() + 60_000 });
  assert.equal((await losing(proxy, () => wakeRun(partition, runId, 'input'))).woken, true);
  const { status, wake_seq } = await record(straight, runId);
  assert.deepEqual([status, wake_seq], ['queued', '2']);
});

test('a lease whose opening, renewal or end is lost on the way is one lease, and admits no run twice', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const leaseId = newId('lease');
  const counts = async () => {
    const root = straight.root;
    const [leases, slots, admitted] = await Promise.all([
      straight.redis.zcard(`${root}:leases`),
      straight.redis.hget(`${root}:slots`, leaseId),
      straight.redis.zrange(`${root}:admitted`, '0', '-1'),
    ]);
    return { leases, slots, admitted };
  };
  // No slot is free before the lease offers some.
  const { runId } = await submit(straight);
  const before = await counts();
  assert.ok(!before.admitted.includes(runId));
  const offered = { leaseId, leaseMs: 600_000, slots: 4 };
  await losing(proxy, () => openLease(partition, offered));
  await losing(proxy, () => renewLease(partition, offered));
  const { leases, slots, admitted } = await counts();
  assert.deepEqual([leases, slots], [before.leases + 1, '4']);
  assert.deepEqual(admitted.toSorted(), [...before.admitted, runId].toSorted());
  await losing(proxy, () => closeLease(partition, leaseId));
  const after = await counts();
  assert.deepEqual([after.leases, after.slots], [before.leases, null]);
});

/** A run in a call that costs at most 50, owned through a lease. */
const inCall = async (partition: Partition) => {
  const leaseId = await lease(partition);
  const owner = await running(partition, {}, leaseId);
  await ask(owner, 50);
  return { leaseId, runId: owner.run.runId };
};

test('runs of a dead worker are taken from it once: charged once, woken once, given to the queue again', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const { leaseId, runId } = await inCall(straight);
  await lease(straight, 10);
  await expireLease(straight, leaseId);
  await losing(proxy, () => repair(partition, GRACE));
  const { status, wake_seq, owner } = await record(straight, runId);
  assert.deepEqual([status, wake_seq, owner], ['queued', '2', undefined]);
  assert.deepEqual(await money(straight, TENANT_DAY), { spent: 50, held: 0 });
  // Its activation went with the lost reply.
  const again = await repair(straight, { limit: 100, graceMs: -1 });
  assert.deepEqual(
    again.activations.filter((one) => one.runId === runId),
    [{ runId, wakeSeq: 2, again: true }],
  );
});

test('runs that are let go although their worker lives are let go once', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const { leaseId, runId } = await inCall(straight);
  await losing(proxy, () => releaseRuns(partition, leaseId, [runId]));
  const { status, wake_seq } = await record(straight, runId);
  assert.deepEqual([status, wake_seq], ['queued', '2']);
  assert.deepEqual(await money(straight, TENANT_DAY), { spent: 50, held: 0 });
  assert.deepEqual(await heldRuns(straight, leaseId), []);
});

test('what is stored in Postgres is marked and acknowledged once', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const { runId, head } = await submit(straight);
  await ensureGroup(straight);
  const reader = createAuditReader(straight, await openRedis('stream'), 'writer');
  const streamIds = (await reader.read(1000, 100)).map(({ streamId }) => streamId);
  assert.ok(streamIds.length > 0);
  await losing(proxy, () => markStored(partition, [{ runId, seq: head.seq }], 3600));
  assert.equal((await record(straight, runId))['stored_seq'], String(head.seq));
  await losing(proxy, () => acknowledge(partition, streamIds));
  assert.equal((await readBacklog(straight, Date.now())).events, 0);
  assert.deepEqual(await reader.reclaim(1000), []);
});

test('a lead that is taken or given back over a lost reply is held by one', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const [first, second] = [leaderOn(partition, 'first'), leaderOn(straight, 'second')];
  assert.equal(await losing(proxy, () => first.hold()), true);
  assert.equal(await second.hold(), false);
  await losing(proxy, () => first.release());
  assert.equal(await second.hold(), true);
});

test('when no reply ever comes the caller is told to try again, and may', async () => {
  const { straight, partition, proxy } = await throughProxy();
  const owner = await runningThrough(straight, partition);
  const { runId } = owner.run;
  const commit = owner.build({ results: [claimed()], announce: [requested(1)] });
  proxy.loseReplies(1000);
  await assert.rejects(owner.send(commit), (error) => code('state_unavailable')(error) && error.retryable);
  proxy.loseReplies(0);
  assert.equal((await owner.send(commit)).code, 'OK');
  assert.deepEqual(await eventTypes(straight, runId), ['run.submitted', 'run.claimed', 'llm.requested']);
});
