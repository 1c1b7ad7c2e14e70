import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '@signalbox/local';
import { type Commit, type Partition, setTenantCaps } from '../src/index.ts';
import { claimed, completed, handedOver, requested, succeeded } from './drafts.ts';
import { auditedEntries, eventTypes, journal, keyOf, record, snapshot } from './inspect.ts';
import { claim, expireLease, freshPartition, lease, running, settle, submit, TENANT } from './support.ts';
import { assertRefused, hold, midCall, tenantDay } from './committing.ts';

const capTenant = (partition: Partition, tenantDailyNano: number) =>
  setTenantCaps(partition, TENANT, { runNano: null, userDailyNano: null, tenantDailyNano, timeZone: 'UTC' });

test('results and announcement are one write, in order, in the journal and in the audit stream (R2, R3, R5)', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const reply = await owner.write({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    progress: true,
    announce: [requested(2)],
    hold: hold(50, 'h2'),
    contents: { results: [['sha256:r', 'cmVz']], announcement: [['sha256:a', 'YW5u']] },
  });
  const { runId } = owner.run;
  assert.equal(reply.code, 'OK');
  assert.equal(reply.head.seq, 5);
  assert.deepEqual(await eventTypes(partition, runId), [
    'run.submitted',
    'run.claimed',
    'llm.requested',
    'llm.completed',
    'llm.requested',
  ]);
  assert.deepEqual(await auditedEntries(partition, runId), await journal(partition, runId));
  assert.deepEqual(await partition.redis.hgetall(keyOf(partition, `run:${runId}:contents`)), {
    'sha256:r': 'cmVz',
    'sha256:a': 'YW5u',
  });
  assert.deepEqual(await tenantDay(partition), { spent: 40, held: 50 });
  assert.equal((await record(partition, runId))['claims'], '0');
});

test('a zombie of an older epoch is fenced, and writes nothing (R4)', async () => {
  const partition = await freshPartition();
  const zombie = await midCall(partition);
  await expireLease(partition, zombie.run.leaseId);
  await claim(partition, zombie.run.runId);
  const write = { results: [completed(1)], settlements: [settle('h1', 40)], announce: [requested(2)] };
  await assertRefused(partition, () => zombie.write(write), 'FENCED');
});

test('another lease with the right epoch is fenced (R4)', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit: Commit = { ...owner.build({ results: [completed(1)] }), leaseId: await lease(partition) };
  await assertRefused(partition, () => owner.send(commit), 'FENCED');
});

test('an older epoch under the same live lease is fenced (R4)', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition);
  const first = await running(partition, {}, leaseId);
  const late = first.build({ results: [completed(1)] });
  await first.write({ announce: [handedOver()], after: { type: 'hand_over', failed: false } });
  await claim(partition, first.run.runId, { leaseId });
  await assertRefused(partition, () => first.send(late), 'FENCED');
});

test('an owner whose lease ran out is fenced, even while nobody else has the run (R4)', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const owner = await claim(partition, runId, { leaseId: 'short', leaseMs: 30 });
  await waitFor(
    async () =>
      Number(await partition.redis.zscore(keyOf(partition, 'leases'), 'short')) < Date.now()
        ? true
        : undefined,
    { what: 'the lease to run out', timeoutMs: 60_000, everyMs: 5 },
  );
  await assertRefused(partition, () => owner.write({ results: [claimed()] }), 'FENCED');
});

test('a commit behind another seq or another hash is a conflict', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit = owner.build({ results: [completed(1)], announce: [requested(2)] });
  const { seq, hash } = commit.head;
  for (const head of [
    { seq: seq + 1, hash },
    { seq: seq - 1, hash },
    { seq, hash: '0'.repeat(64) },
  ]) {
    await assertRefused(partition, () => owner.send({ ...commit, head }), 'CONFLICT');
  }
});

test('another continuation of the same head is a conflict', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const other = owner.build({ results: [completed(9)] });
  await owner.write({ results: [completed(1)] });
  await assertRefused(partition, () => owner.send(other), 'CONFLICT');
});

test('resent after all of it was written: recognised, nothing twice', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    announce: [requested(2)],
    hold: hold(50, 'h2'),
  });
  const first = await owner.send(commit);
  const before = await snapshot(partition);
  assert.deepEqual(await owner.send(commit), first);
  assert.deepEqual(await snapshot(partition), before);
});

test('resent after the run ended with it: still OK', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const commit = owner.build({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  assert.equal((await owner.send(commit)).code, 'OK');
  assert.equal((await owner.send(commit)).code, 'OK');
  assert.deepEqual(await eventTypes(partition, owner.run.runId), ['run.submitted', 'run.succeeded']);
});

test('resent after only the results were written (DENIED): the hold is judged again, nothing twice', async () => {
  const partition = await freshPartition();
  await capTenant(partition, 100);
  const owner = await midCall(partition, 100);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 60)],
    announce: [requested(2)],
    hold: hold(50, 'h2'),
  });
  const denied = await owner.send(commit);
  assert.equal(denied.code, 'DENIED');
  const before = await snapshot(partition);
  assert.deepEqual(await owner.send(commit), denied);
  assert.deepEqual(await snapshot(partition), before);
  await capTenant(partition, 110);
  assert.equal((await owner.send(commit)).code, 'OK');
  assert.deepEqual(await tenantDay(partition), { spent: 60, held: 50 });
  assert.deepEqual(
    await auditedEntries(partition, owner.run.runId),
    await journal(partition, owner.run.runId),
  );
});

test('of a hundred commits of the same seq at once, each written once', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    announce: [requested(2)],
  });
  const replies = await Promise.all(Array.from({ length: 100 }, () => owner.send(commit)));
  assert.deepEqual([...new Set(replies.map(({ code }) => code))], ['OK']);
  assert.equal((await journal(partition, owner.run.runId)).length, 5);
  assert.deepEqual(await tenantDay(partition), { spent: 40, held: 0 });
});
