/** A run whose record a hand wrote into goes to its end, and stops nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  awakenRun,
  expireWaits,
  type Partition,
  readDemand,
  reindexRuns,
  releaseRuns,
  repair,
  requestAbort,
  wakeRun,
} from '../src/index.ts';
import { assertNoTraces, auditedEntries, eventTypes, journal, keyOf, money, TENANT_DAY } from './inspect.ts';
import { woken } from './drafts.ts';
import { ask, END, GRACE, parkedRun, settled, sleepAll, STOP, storedCopy } from './steps.ts';
import { claim, expireLease, freshPartition, lease, running, submit, TENANT } from './support.ts';

const set =
  (name: string, ...fields: string[]) =>
  (partition: Partition): Promise<unknown> =>
    partition.redis.hset(keyOf(partition, name), ...fields);

const DAMAGED = { rank: '', wake_seq: 'x', queued_ms: 'never', seq: 'x', head: '' } as const;

for (const [field, garbage] of Object.entries(DAMAGED)) {
  test(`a run whose ${field} is garbage is woken as others are, and keeps nobody from being told what is to do`, async () => {
    const partition = await freshPartition();
    const [bad, good] = [await parkedRun(partition), await parkedRun(partition)];
    const { runId } = await submit(partition);
    for (const id of [bad.run.runId, runId])
      await partition.redis.hset(keyOf(partition, `run:${id}`), field, garbage);
    const page = { index: 'parked', longestMs: -1, skip: 0, limit: 10 } as const;
    assert.equal((await expireWaits(partition, page)).woken, 2);
    await readDemand(partition, Date.now());
    for (const id of [bad.run.runId, good.run.runId, runId])
      assert.equal((await (await claim(partition, id)).write(END)).code, 'OK');
  });
}

const NO_COUNTS = ['x', '', '-7', '1e300', '9223372036854775807'];
const MISLED: Readonly<Record<string, readonly string[]>> = {
  seq: [...NO_COUNTS, '1', '999'],
  head: ['x', '', '0'.repeat(64)],
  wake_seq: NO_COUNTS,
  rank: ['x', '', '7'],
};

for (const [field, values] of Object.entries(MISLED)) {
  for (const garbage of values) {
    const spoil = (partition: Partition, runId: string) =>
      partition.redis.hset(keyOf(partition, `run:${runId}`), field, garbage);

    test(`a run at work whose ${field} is ${JSON.stringify(garbage)} goes on with its journal whole, and pays once`, async () => {
      const partition = await freshPartition();
      const leaseId = await lease(partition, 5);
      const owner = await running(partition, {}, leaseId);
      const { runId } = owner.run;
      await ask(owner, 70);
      await spoil(partition, runId);
      let next = owner;
      const reply = await settled(owner, 30);
      if (reply.code !== 'OK') {
        assert.equal(reply.code, 'CONFLICT');
        await releaseRuns(partition, leaseId, [runId]);
        next = await claim(partition, runId, { leaseId });
        assert.equal((await settled(next, 30)).code, 'OK');
      }
      assert.equal((await next.write(END)).code, 'OK');
      assert.deepEqual(await money(partition, TENANT_DAY), { spent: 30, held: 0 });
      await eventTypes(partition, runId);
      assert.deepEqual(await auditedEntries(partition, runId), await journal(partition, runId));
      await assertNoTraces(partition, runId);
    });

    test(`a run whose ${field} is ${JSON.stringify(garbage)} is given to the queue, and stopped, as are others when its worker is lost`, async () => {
      const partition = await freshPartition();
      const leaseId = await lease(partition, 5);
      const [bad, good] = [await running(partition, {}, leaseId), await running(partition, {}, leaseId)];
      const parked = await parkedRun(partition);
      const queued = await submit(partition);
      const ids = [bad.run.runId, queued.runId, parked.run.runId];
      for (const runId of ids) await spoil(partition, runId);
      await expireLease(partition, leaseId);
      const { lost } = await repair(partition, GRACE);
      assert.equal(lost, 2);
      await reindexRuns(partition, ids);
      await lease(partition, 10);
      const { activations } = await repair(partition, { limit: 100, graceMs: -1 });
      for (const { runId } of [bad.run, good.run, queued]) {
        const given = activations.find((activation) => activation.runId === runId);
        const { wakeSeq } = given ?? assert.fail(`${runId} was not given to the queue`);
        await (await claim(partition, runId, { wakeSeq })).write(END);
        await assertNoTraces(partition, runId);
      }
      const { runId } = parked.run;
      const flag = { requested_at: '2026-01-01T00:00:00.000Z', by: 'key_1', reason: null };
      await requestAbort(partition, { runId, tenantId: TENANT, flag });
      assert.equal((await (await claim(partition, runId)).write(STOP)).code, 'OK');
      await assertNoTraces(partition, runId);
    });
  }
}

for (const field of ['epoch', 'claims', 'promise']) {
  for (const garbage of ['x', '', 'inf', 'nan', '-1', '1e300']) {
    test(`a run whose ${field} is ${JSON.stringify(garbage)} goes to its end all the same, as do others`, async () => {
      const partition = await freshPartition();
      const leaseId = await lease(partition);
      const [bad, good] = [await running(partition, {}, leaseId), await running(partition, {}, leaseId)];
      await bad.write({ results: [woken('timer')] });
      const { runId } = bad.run;
      const scope = keyOf(partition, TENANT_DAY);
      await set(
        `run:${runId}`,
        field,
        garbage,
        ...(field === 'promise' ? ['promised_by', scope] : []),
      )(partition);
      await partition.redis.hset(scope, 'promised', 30);
      await expireLease(partition, leaseId);
      assert.equal((await repair(partition, GRACE)).lost, 2);
      assert.equal((await bad.write({ results: [woken('timer')] })).code, 'FENCED');
      const next = await claim(partition, runId);
      assert.equal(next.run.epoch, 2, 'it never goes back');
      assert.equal(next.run.claims, field === 'claims' ? 1 : 2);
      assert.equal((await ask(next, 70)).code, 'OK');
      assert.equal((await next.write(END)).code, 'OK');
      if (field === 'promise') assert.equal(await partition.redis.hget(scope, 'promised'), '0');
      assert.equal((await (await claim(partition, good.run.runId)).write(END)).code, 'OK');
    });
  }
}

for (const field of ['seq', 'wake_seq']) {
  test(`a run that hibernates and whose ${field} is garbage is loaded once it is woken`, async () => {
    const partition = await freshPartition();
    const { run } = await parkedRun(partition);
    const stored = await storedCopy(partition, run.runId);
    assert.deepEqual(await sleepAll(partition), [run.runId]);
    await partition.redis.hset(keyOf(partition, `run:${run.runId}`), field, 'x');
    await wakeRun(partition, run.runId, 'input');
    assert.equal((await awakenRun(partition, stored)).code, 'LOADED');
    assert.equal((await (await claim(partition, run.runId)).write(END)).code, 'OK');
  });
}

test('a run whose journal lost its end is written by nobody, whatever its record says', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const { runId, leaseId } = owner.run;
  await ask(owner, 70);
  await partition.redis.rpop(keyOf(partition, `run:${runId}:events`));
  await releaseRuns(partition, leaseId, [runId]);
  assert.equal((await (await claim(partition, runId)).write(END)).code, 'CONFLICT');
});
