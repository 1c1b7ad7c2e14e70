/** R9: when the audit backlog reaches its limit, new runs are refused, then running ones park; nothing is dropped. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import type { SignalboxError } from '@signalbox/contracts';
import { until } from '@signalbox/local';
import {
  acknowledge,
  claimRun,
  type Demand,
  type Partition,
  readDemand,
  repair,
  requestAbort,
  submitRun,
  wakeRun,
} from '../src/index.ts';
import { completed, DAY, FLAG, requested } from './drafts.ts';
import {
  auditedEntries,
  eventTypes,
  journal,
  keyOf,
  levelOf,
  money,
  record,
  snapshot,
  TENANT_DAY,
} from './inspect.ts';
import { ask, END, GRACE, HAND_OVER, limitTo, parkUnderPressure, STOP } from './steps.ts';
import {
  claim,
  freshPartition,
  lease,
  makeSubmission,
  type Owner,
  running,
  settle,
  submit,
  TENANT,
} from './support.ts';

const demand = (partition: Partition): Promise<Demand> => readDemand(partition, Date.now());

/** Fills or drains the audit stream as far as the level begins. */
const atLevel = async (partition: Partition, level: 0 | 1 | 2 | 3): Promise<void> => {
  const backlog = await partition.redis.xlen(keyOf(partition, 'audit'));
  // What writes meanwhile must not change the level.
  const factor = { 0: 0, 1: 1.2, 2: 1.7, 3: 2.5 }[level];
  await limitTo(partition, level === 0 ? 1_000_000 : Math.max(1, Math.floor(backlog / factor)));
  assert.equal(await levelOf(partition), level);
};

/** Commits that wait, so that a few more are no other level. */
const fill = async (partition: Partition, commits = 200): Promise<void> => {
  const pipeline = partition.redis.pipeline();
  for (let n = 0; n < commits; n += 1) pipeline.xadd(keyOf(partition, 'audit'), '*', 'r', 'run_of_another');
  await pipeline.exec();
};

const drain = async (partition: Partition): Promise<void> => {
  const waiting = await partition.redis.xrange(keyOf(partition, 'audit'), '-', '+');
  await acknowledge(
    partition,
    waiting.map(([id]) => id),
  );
};

const pressed = async (level: 0 | 1 | 2 | 3): Promise<Partition> => {
  const partition = await freshPartition();
  await fill(partition);
  await atLevel(partition, level);
  return partition;
};

const refusal = (message: RegExp) => (error: unknown) => {
  const { code, retryAfter, message: text } = error as SignalboxError;
  assert.deepEqual([code, retryAfter], ['audit_backlog', 10]);
  assert.match(text, message);
  return true;
};

test('the levels begin at the limit, half above it and at twice the limit', async () => {
  const partition = await freshPartition();
  assert.equal(await levelOf(partition), 0, 'nobody told the limit yet');
  await limitTo(partition, 10);
  for (const [backlog, level] of [
    [9, 0],
    [10, 1],
    [14, 1],
    [15, 2],
    [19, 2],
    [20, 3],
  ] as const) {
    await drain(partition);
    await fill(partition, backlog);
    assert.equal(await levelOf(partition), level, `${backlog} of 10`);
  }
});

test('level 1: no run is taken, and the message says why; one that was taken before is found', async () => {
  const partition = await freshPartition();
  const idempotency = [{ key_digest: 'k', fingerprint: 'f' }];
  const { runId, submission } = await submit(partition, { idempotency });
  await fill(partition, 4);
  const before = await snapshot(partition);
  await assert.rejects(
    submitRun(partition, makeSubmission().submission, { backlogLimit: 5 }),
    refusal(/^5 commits wait to be stored in Postgres and 5 may/),
  );
  assert.deepEqual(await snapshot(partition), before);
  const again = { ...submission, runId: makeSubmission().runId };
  assert.deepEqual(await submitRun(partition, again, { backlogLimit: 5 }), { type: 'exists', runId });
});

test('level 1: what runs goes on, nothing is admitted, and no scaler is told to help', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await lease(partition, 10);
  await fill(partition);
  const queued = await submit(partition, { dueMs: 1000 });
  await atLevel(partition, 1);
  const repaired = await repair(partition, GRACE);
  assert.deepEqual([repaired.timers, repaired.activations], [1, []], 'it is due, and waits in line');
  assert.equal((await owner.write({ announce: [requested(1)] })).code, 'OK');
  const { runnable, active, waiting } = await demand(partition);
  assert.deepEqual({ runnable, active, waiting }, { runnable: 1, active: 1, waiting: 1 });

  await atLevel(partition, 0);
  assert.equal((await demand(partition)).runnable, 2);
  assert.deepEqual((await repair(partition, GRACE)).activations, [{ runId: queued.runId, wakeSeq: 2 }]);
});

test('level 2: the next call is refused and holds nothing; what the last one gave and cost is written', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 50);
  await fill(partition);
  await atLevel(partition, 2);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 30)],
    announce: [requested(2)],
    hold: { id: 'h2', amount: 50, day: DAY },
  });
  assert.equal((await owner.send(commit)).code, 'PRESSURE');
  assert.equal((await owner.send(commit)).code, 'PRESSURE', 'a resend after a lost reply finds its results');
  assert.deepEqual(await eventTypes(partition, owner.run.runId), [
    'run.submitted',
    'llm.requested',
    'llm.completed',
  ]);
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 30, held: 0 });

  assert.equal((await parkUnderPressure(owner)).code, 'OK');
  const { status, reason } = await record(partition, owner.run.runId);
  assert.deepEqual([status, reason], ['waiting', 'capacity']);
  assert.deepEqual(
    await auditedEntries(partition, owner.run.runId),
    await journal(partition, owner.run.runId),
  );
});

test('level 2: a park that came too late for a wake is refused; the owner looks again', async () => {
  const partition = await pressed(0);
  const owner = await running(partition);
  await atLevel(partition, 2);
  await wakeRun(partition, owner.run.runId, 'approval');
  assert.equal((await parkUnderPressure(owner)).code, 'WOKEN');
  assert.equal(await partition.redis.zcard(keyOf(partition, 'pressured')), 0);
  assert.equal((await parkUnderPressure(owner, 2)).code, 'OK');
});

test('levels 2 and 3: runs end, stop and are handed over; an abort comes before pressure', async () => {
  const partition = await pressed(0);
  const [ending, stopping, leaving, waiting] = [
    await running(partition),
    await running(partition),
    await running(partition),
    await running(partition),
  ];
  await atLevel(partition, 2);
  await parkUnderPressure(waiting);
  await atLevel(partition, 3);
  assert.equal((await ending.write(END)).code, 'OK');

  for (const { run } of [stopping, waiting])
    await requestAbort(partition, { runId: run.runId, tenantId: TENANT, flag: FLAG });
  assert.equal((await stopping.write({ announce: [requested(1)] })).code, 'ABORTED');
  assert.equal((await stopping.write(STOP)).code, 'OK');
  const taken = await claim(partition, waiting.run.runId, { leaseMs: 1000, leaseId: 'of-the-api' });
  assert.equal((await taken.write(STOP)).code, 'OK');
  assert.equal(await partition.redis.zcard(keyOf(partition, 'pressured')), 0);

  const reply = await leaving.write(HAND_OVER);
  assert.deepEqual([reply.code, reply.activations], ['OK', []]);
});

test('level 3: an activation is not claimed; its run is back in line and starts when Postgres has caught up', async () => {
  const partition = await pressed(0);
  await lease(partition, 10);
  const { runId, activations } = await submit(partition);
  assert.deepEqual(activations, [{ runId, wakeSeq: 1 }]);
  await atLevel(partition, 3);
  const request = { runId, wakeSeq: 1, leaseId: await lease(partition), token: randomUUID() };
  assert.deepEqual(await claimRun(partition, request), { type: 'refused', why: 'PRESSURE' });
  const { status, claims } = await record(partition, runId);
  assert.deepEqual([status, claims], ['queued', '0'], 'no claim is counted towards poison');
  assert.equal(await partition.redis.zcard(keyOf(partition, 'admitted')), 0);
  assert.deepEqual((await repair(partition, { limit: 100, graceMs: 0 })).activations, []);

  await atLevel(partition, 0);
  assert.deepEqual((await repair(partition, GRACE)).activations, [{ runId, wakeSeq: 1 }]);
  assert.equal((await claimRun(partition, request)).type, 'claimed');
});

const PARKED = 60;

test('what pressure parked goes on when it is over: all of it, the oldest first, a few at a time', async () => {
  const partition = await pressed(0);
  const owners: Owner[] = [];
  for (let n = 0; n < PARKED; n += 1) owners.push(await running(partition));
  await atLevel(partition, 2);
  for (const [n, owner] of owners.toReversed().entries()) {
    // Ages that tell them apart.
    await partition.redis.hset(keyOf(partition, `run:${owner.run.runId}`), 'created_ms', 1000 - n);
    assert.equal((await parkUnderPressure(owner)).code, 'OK');
  }
  const byAge = owners.map(({ run }) => run.runId);
  await atLevel(partition, 1);
  assert.equal((await repair(partition, GRACE)).relieved, 0, 'not yet');

  await atLevel(partition, 0);
  const waves: number[] = [];
  const woken: string[] = [];
  await until('all to be woken', async () => {
    const [first, second] = await Promise.all([repair(partition, GRACE), repair(partition, GRACE)]);
    assert.equal(Math.min(first.relieved, second.relieved), 0, 'never two waves at once');
    if (first.relieved + second.relieved > 0) waves.push(first.relieved + second.relieved);
    const left = new Set(await partition.redis.zrange(keyOf(partition, 'pressured'), 0, '-1'));
    for (const runId of byAge) if (!left.has(runId) && !woken.includes(runId)) woken.push(runId);
    return left.size === 0;
  });
  assert.deepEqual(waves, [25, 25, 10]);
  assert.deepEqual(woken, byAge);
  for (const runId of byAge) {
    const next = await claim(partition, runId, { wakeSeq: 2 });
    assert.deepEqual(next.run.notes, [{ type: 'woken', reason: 'capacity' }]);
    assert.equal((await next.write({ announce: [requested(1)] })).code, 'OK');
  }
});
