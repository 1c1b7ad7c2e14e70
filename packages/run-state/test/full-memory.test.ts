/** Pressure by memory (R9), and a Redis at its maxmemory: what must still be written is written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import {
  acknowledge,
  beginVerification,
  closeLease,
  createAuditReader,
  endVerification,
  ensureGroup,
  findLiveRuns,
  loadRun,
  markStored,
  openActivationQueue,
  openLease,
  type Partition,
  postponeLoading,
  readBacklog,
  readDemand,
  readEntries,
  readRun,
  releaseRuns,
  renewLease,
  repair,
  requestAbort,
  restoreIdempotency,
  submitRun,
  wakeRun,
} from '../src/index.ts';
import { completed, FLAG, requested } from './drafts.ts';
import { FULL, fillablePartition, fillableUrl, fillTo } from './full-redis.ts';
import { eventTypes, keyOf, levelOf, money, record, snapshot, TENANT_DAY } from './inspect.ts';
import { ask, END, GRACE, HAND_OVER, parkUnderPressure, STOP } from './steps.ts';
import {
  claim,
  code,
  expireLease,
  lease,
  loadable,
  makeSubmission,
  openRedis,
  type Owner,
  running,
  settle,
  submit,
  TENANT,
} from './support.ts';

/** Runs that were given to a worker, and not claimed yet, after a repair. */
const goesOn = async (partition: Partition): Promise<string[]> => {
  await repair(partition, GRACE);
  return partition.redis.zrangebyscore(keyOf(partition, 'admitted'), '-inf', '(+inf');
};

test('the levels begin at 40, 60 and 75 % of maxmemory; without one memory does not count', async () => {
  const partition = await fillablePartition();
  assert.equal(await levelOf(partition), 0);
  for (const [share, level] of [
    [0.35, 0],
    [0.45, 1],
    [0.55, 1],
    [0.65, 2],
    [0.8, 3],
  ] as const) {
    await fillTo(partition, share);
    assert.equal(await levelOf(partition), level, `${share}`);
  }
  await fillTo(partition, 0.45);
  await assert.rejects(submitRun(partition, makeSubmission().submission, { backlogLimit: 10 }), (error) => {
    assert.match((error as Error).message, /^run state fills 4\d % of its memory, with 0 commits that wait/);
    return code('audit_backlog')(error);
  });
});

const FEW = 10;

test('memory full of runs while nothing waits for Postgres: no new run, and a few at a time go on', async () => {
  const partition = await fillablePartition();
  const owners: Owner[] = [];
  for (let n = 0; n < FEW + 2; n += 1) owners.push(await running(partition));
  const queued = await submit(partition, { dueMs: 1000 });
  await lease(partition, 100);
  await fillTo(partition, 0.65);
  await assert.rejects(
    submitRun(partition, makeSubmission().submission, { backlogLimit: 1000 }),
    code('audit_backlog'),
  );
  const codes: string[] = [];
  for (const owner of owners) {
    const reply = await owner.write({ announce: [requested(1)] });
    codes.push(reply.code);
    if (reply.code === 'PRESSURE') await parkUnderPressure(owner);
  }
  assert.deepEqual(codes, ['PRESSURE', 'PRESSURE', ...Array.from({ length: FEW }, () => 'OK')]);
  assert.deepEqual(await goesOn(partition), [], 'there is no place for more');
  assert.equal((await readDemand(partition, Date.now())).runnable, FEW);

  await owners[2]?.write(END);
  const parkedFirst = owners.slice(0, 2).map(({ run }) => run.runId);
  const [next = ''] = await goesOn(partition);
  assert.ok(parkedFirst.includes(next), 'one has ended, one that was parked goes on');

  await fillTo(partition, 0.45);
  await until('the others to go on too', async () => (await goesOn(partition)).length === 3);
  const started = await goesOn(partition);
  assert.deepEqual(started.toSorted(), [...parkedFirst, queued.runId].toSorted());
});

test('an ended run is kept for readers only while there is plenty of memory', async () => {
  const partition = await fillablePartition();
  const ttlOf = async (share: number): Promise<number> => {
    const owner = await running(partition);
    await owner.write(END);
    await fillTo(partition, share);
    await markStored(partition, [{ runId: owner.run.runId, seq: 2 }], 3600);
    return partition.redis.ttl(keyOf(partition, `run:${owner.run.runId}`));
  };
  assert.ok((await ttlOf(0.2)) > 3500);
  assert.ok((await ttlOf(0.3)) <= 2);
});

test('a full Redis takes no run and leaves nothing behind', async () => {
  const partition = await fillablePartition();
  const before = await snapshot(partition);
  await fillTo(partition, FULL);
  const idempotency = [{ key_digest: 'k', fingerprint: 'f' }];
  await assert.rejects(
    submitRun(partition, makeSubmission({ idempotency }).submission, { backlogLimit: 10 }),
    code('state_unavailable'),
  );
  assert.deepEqual(await snapshot(partition), before);
});

test('a full Redis: results are written and settled; runs park, end, stop, are handed over and read', async () => {
  const partition = await fillablePartition();
  const owners: Owner[] = [];
  for (let n = 0; n < 4; n += 1) {
    const owner = await running(partition);
    await ask(owner, 50, { id: `h${n}` });
    owners.push(owner);
  }
  const [parking, ending, stopping, leaving] = owners;
  assert.ok(parking && ending && stopping && leaving);
  await fillTo(partition, FULL);
  const gave = (n: number) => ({ results: [completed(1)], settlements: [settle(`h${n}`, 30)] });
  const big: [string, string] = ['ref', 'x'.repeat(100_000)];

  const next = await parking.write({ ...gave(0), contents: { results: [big] }, announce: [requested(2)] });
  assert.equal(next.code, 'PRESSURE');
  assert.equal((await parkUnderPressure(parking)).code, 'OK');
  assert.equal((await ending.write({ ...gave(1), ...END })).code, 'OK');
  assert.equal((await leaving.write({ ...gave(3), ...HAND_OVER })).code, 'OK');
  for (const { run } of [stopping, parking])
    await requestAbort(partition, { runId: run.runId, tenantId: TENANT, flag: FLAG });
  assert.equal((await stopping.write({ ...gave(2), ...STOP })).code, 'OK');
  const taken = await claim(partition, parking.run.runId, { leaseMs: 1000, leaseId: 'of-the-api' });
  assert.equal((await taken.write(STOP)).code, 'OK');

  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 120, held: 0 });
  assert.equal(
    (await readRun(partition, { tenantId: TENANT, runId: ending.run.runId }, 'all'))?.entries.length,
    4,
  );
  const cursor = { runId: ending.run.runId, after: 1, limit: 2 };
  assert.equal((await readEntries(partition, TENANT, cursor))?.length, 2);
  const live = await findLiveRuns(partition, TENANT, { filter: {}, limit: 10 });
  assert.deepEqual(live.runIds, [leaving.run.runId]);
  assert.deepEqual(await eventTypes(partition, parking.run.runId), [
    'run.submitted',
    'llm.requested',
    'llm.completed',
    'run.parked',
    'run.aborted',
  ]);
});

test('a full Redis: leases, repair, wakes and verification go on; the audit stream is read and emptied', async () => {
  const partition = await fillablePartition();
  const [live, dead] = [await lease(partition, 5), await lease(partition, 5)];
  const lost = await running(partition, {}, dead);
  const stray = await running(partition, {}, live);
  const waiting = await submit(partition, { dueMs: Date.now() + 60_000 });
  await ensureGroup(partition);
  await expireLease(partition, dead);
  await fillTo(partition, FULL);

  assert.equal((await renewLease(partition, { leaseId: live, leaseMs: 60_000, slots: 5 })).type, 'live');
  assert.equal((await openLease(partition, { leaseId: 'new', leaseMs: 60_000, slots: 5 })).type, 'live');
  await closeLease(partition, 'new');
  assert.equal((await repair(partition, GRACE)).lost, 1);
  await releaseRuns(partition, live, [stray.run.runId]);
  assert.equal((await wakeRun(partition, waiting.runId, 'input')).woken, true);
  for (const { runId } of [lost.run, stray.run, waiting])
    assert.equal((await record(partition, runId))['status'], 'queued');

  const verification = await beginVerification(partition);
  const big = loadable({ contents: new Map([['ref', 'x'.repeat(100_000)]]) });
  assert.equal(await loadRun(partition, verification, big), true);
  const mark = { tenantId: TENANT, key_digest: 'k', fingerprint: 'f', runId: 'run_x', createdMs: Date.now() };
  await restoreIdempotency(partition, [mark]);
  assert.equal(await partition.redis.exists(keyOf(partition, `idem:${TENANT}:k`)), 1);
  await postponeLoading(partition, 'run_x', 1000);
  await endVerification(partition, verification, { incarnation: 1, batches: 0 });

  await ensureGroup(partition); // as an audit-writer that starts now
  const reader = createAuditReader(partition, await openRedis('stream', await fillableUrl()), 'w1');
  const records = await reader.read(100, 100);
  assert.equal(records.length, 3);
  await acknowledge(
    partition,
    records.map(({ streamId }) => streamId),
  );
  await markStored(
    partition,
    records.map(({ runId }) => ({ runId, seq: 1 })),
    3600,
  );
  assert.equal((await readBacklog(partition, Date.now())).events, 0);
});

test('a full Redis: BullMQ takes no job and says so; with room again it takes the same one', async () => {
  const partition = await fillablePartition();
  const queue = openActivationQueue(partition, await openRedis('queue', await fillableUrl()));
  await queue.add([{ runId: 'run_0', wakeSeq: 1 }]);
  await fillTo(partition, FULL);
  await assert.rejects(queue.add([{ runId: 'run_1', wakeSeq: 1 }]), /OOM/);
  await fillTo(partition, 0.5);
  await queue.add([{ runId: 'run_1', wakeSeq: 1 }]);
  assert.equal(await partition.redis.llen(keyOf(partition, 'activations:wait')), 2);
  await queue.close();
});
