/** Caps on how many runs of a tenant, and of each of its users, are worked on at once (`max_runs`, `user_max_runs`). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimRun, repair, setTenantCaps, type Submission } from '../src/index.ts';
import { assertNoTraces, keyOf } from './inspect.ts';
import { capped, END, idsOf, REPAIR, submitAll, times, work, workOff } from './steps.ts';
import { submit, TENANT } from './support.ts';

for (const [what, caps] of [
  ['tenant', { maxRuns: 3 }],
  ['user', { userMaxRuns: 3 }],
] as const) {
  test(`no more runs of a ${what} are admitted than its cap allows, and each permit goes to the next run`, async () => {
    const { partition, leaseId } = await capped(caps);
    const { runIds, activations } = await submitAll(partition, times(10, { userId: 'u1' }));
    assert.deepEqual(idsOf(activations), runIds.slice(0, 3));
    const owner = await work(partition, leaseId, activations[0]);
    assert.deepEqual(idsOf((await owner.write(END)).activations), runIds.slice(3, 4));
    assert.deepEqual((await repair(partition, REPAIR)).activations, []);
  });

  test(`whoever is not of the capped ${what} is not held up`, async () => {
    const { partition } = await capped(caps);
    await submitAll(partition, times(10, { userId: 'u1' }));
    const other = what === 'tenant' ? { tenantId: 'other' } : { userId: 'u2' };
    const { runIds, activations } = await submitAll(partition, times(3, other));
    assert.deepEqual(idsOf(activations), runIds);
  });

  test(`the permits of a ${what} go by priority, then age`, async () => {
    const { partition, leaseId } = await capped(what === 'tenant' ? { maxRuns: 1 } : { userMaxRuns: 1 });
    const of = (priority: Submission['priority']) => ({ userId: 'u1', priority });
    const { runIds, activations } = await submitAll(
      partition,
      (['normal', 'low', 'normal', 'high', 'low', 'high'] as const).map(of),
    );
    const order = await workOff(partition, leaseId, activations);
    assert.deepEqual(
      order,
      [0, 3, 5, 2, 1, 4].map((n) => runIds[n]),
    );
  });

  test(`a ${what} whose cap is 0 starts nothing; repair notices when it is lifted (R10)`, async () => {
    const { partition, leaseId } = await capped(what === 'tenant' ? { maxRuns: 0 } : { userMaxRuns: 0 });
    const { runIds, activations } = await submitAll(partition, times(5, { userId: 'u1' }));
    assert.deepEqual([activations, (await repair(partition, REPAIR)).activations], [[], []]);
    await setTenantCaps(partition, TENANT, { maxRuns: null, userMaxRuns: null });
    const repaired = await repair(partition, REPAIR);
    assert.deepEqual(idsOf(repaired.activations), runIds);
    await workOff(partition, leaseId, repaired.activations);
    for (const runId of runIds) await assertNoTraces(partition, runId);
  });

  test(`a raised cap of a ${what} is noticed by repair, and the oldest go first`, async () => {
    const { partition } = await capped(what === 'tenant' ? { maxRuns: 2 } : { userMaxRuns: 2 });
    const { runIds } = await submitAll(partition, times(8, { userId: 'u1' }));
    await setTenantCaps(partition, TENANT, what === 'tenant' ? { maxRuns: 5 } : { userMaxRuns: 5 });
    assert.deepEqual(idsOf((await repair(partition, REPAIR)).activations), runIds.slice(2, 5));
  });

  test(`a lowered cap of a ${what} stops admission until it is kept again`, async () => {
    const { partition, leaseId } = await capped(what === 'tenant' ? { maxRuns: 4 } : { userMaxRuns: 4 });
    const { runIds, activations } = await submitAll(partition, times(6, { userId: 'u1' }));
    await setTenantCaps(partition, TENANT, what === 'tenant' ? { maxRuns: 1 } : { userMaxRuns: 1 });
    const admitted: string[][] = [];
    for (const activation of activations) {
      const owner = await work(partition, leaseId, activation);
      admitted.push(idsOf((await owner.write(END)).activations));
    }
    assert.deepEqual(admitted, [[], [], [], runIds.slice(4, 5)]);
  });
}

test('a user that is held back keeps its order when the cap is raised and a new run comes before repair', async () => {
  const { partition } = await capped({ userMaxRuns: 1 });
  const { runIds } = await submitAll(partition, times(4, { userId: 'u1' }));
  await setTenantCaps(partition, TENANT, { userMaxRuns: 3 });
  const late = await submit(partition, { userId: 'u1' });
  assert.deepEqual(idsOf(late.activations), runIds.slice(1, 3));
});

test('a run that goes before others of its user takes their permit, but not from one that was admitted', async () => {
  const { partition, leaseId } = await capped({ userMaxRuns: 2 }, 0);
  const of = (priority: Submission['priority']) => ({ userId: 'u1', priority });
  const { runIds, activations } = await submitAll(
    partition,
    ['normal', 'low', 'high', 'low'].map((p) => of(p as 'low')),
  );
  const [admitted, low, high] = runIds;
  assert.deepEqual(idsOf(activations), [admitted], 'the fleet takes one at a time');
  const ready = (): Promise<string[]> =>
    partition.redis.zrange(keyOf(partition, `ready:${TENANT}`), '0', '-1');
  assert.deepEqual(await ready(), [high], 'the low one gave way');
  const owner = await work(partition, leaseId, activations[0]);
  assert.deepEqual(idsOf((await owner.write(END)).activations), [high]);
  assert.deepEqual(await ready(), [low]);
});

test('a lost activation of a capped run is added again and holds its permit meanwhile', async () => {
  const { partition } = await capped({ maxRuns: 1 });
  const { runIds, activations } = await submitAll(partition, times(2, {}));
  const again = await repair(partition, { limit: 10, graceMs: 0 });
  assert.deepEqual(
    again.activations,
    activations.map((lost) => ({ ...lost, again: true })),
  );
  assert.deepEqual(idsOf(again.activations), runIds.slice(0, 1));
});

test('names with any characters are kept apart', async () => {
  const { partition } = await capped({ userMaxRuns: 1 });
  const users = ['a', 'a:b', '"', 'ü\n', '1', '[]'];
  const { activations } = await submitAll(
    partition,
    users.flatMap((userId) => [{ userId }, { userId }]),
  );
  assert.equal(activations.length, users.length);
  await setTenantCaps(partition, TENANT, { userMaxRuns: null });
  assert.equal((await repair(partition, REPAIR)).activations.length, users.length);
});

test('a stray job of a run that was not admitted leads past no cap', async () => {
  for (const caps of [{ maxRuns: 1 }, { userMaxRuns: 1 }]) {
    const { partition, leaseId } = await capped(caps);
    const { runIds, activations } = await submitAll(partition, times(2, { userId: 'ann' }));
    assert.equal(activations.length, 1);
    const first = await work(partition, leaseId, activations[0]);
    const second = runIds.find((runId) => runId !== first.run.runId) ?? '';
    const stray = { runId: second, wakeSeq: 1, leaseId, token: 'stray' };
    assert.deepEqual(await claimRun(partition, stray), { type: 'refused', why: 'STALE' });
    const { activations: next } = await first.write(END);
    assert.deepEqual(idsOf(next), [second]);
    await work(partition, leaseId, next[0]);
  }
});
