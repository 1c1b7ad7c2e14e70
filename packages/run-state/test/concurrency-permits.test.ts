/** How a run under a concurrency cap gives its permit back, and who gets it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Activation, type Partition, repair, requestAbort } from '../src/index.ts';
import { aborted } from './drafts.ts';
import { allKeys, assertNoTraces, keyOf } from './inspect.ts';
import { capped, END, HAND_OVER, idsOf, park, REPAIR, submitAll, times, work, workOff } from './steps.ts';
import { claim, expireLease, lease, type Owner, TENANT, type Write } from './support.ts';

/** Until the server's clock shows another millisecond, so that what is queued now is younger than all before. */
const anotherMillisecond = async ({ redis }: Partition): Promise<void> => {
  const ms = async (): Promise<number> => {
    const [seconds, micros] = await redis.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  };
  const before = await ms();
  while ((await ms()) === before);
};

const RELEASES: Record<string, (owner: Owner) => Promise<readonly Activation[]>> = {
  finish: async (owner) => (await owner.write(END)).activations,
  'hand-over': async (owner) => (await owner.write(HAND_OVER)).activations,
  park: async (owner) => (await park(owner, { reason: 'approval' })).activations,
};

for (const [how, letGo] of Object.entries(RELEASES)) {
  for (const caps of [{ maxRuns: 1 }, { userMaxRuns: 1 }]) {
    test(`${how} gives the permit to the next run: ${JSON.stringify(caps)}`, async () => {
      const { partition, leaseId } = await capped(caps);
      const { runIds, activations } = await submitAll(partition, times(3, { userId: 'u1' }));
      const owner = await work(partition, leaseId, activations[0]);
      await anotherMillisecond(partition);
      assert.deepEqual(idsOf(await letGo(owner)), runIds.slice(1, 2));
    });
  }
}

test('a lost lease gives its permits back, and its runs wait behind the others', async () => {
  const { partition, leaseId } = await capped({ userMaxRuns: 2 });
  const { runIds, activations } = await submitAll(partition, times(4, { userId: 'u1' }));
  const dead = await lease(partition);
  for (const activation of activations) await work(partition, dead, activation);
  await expireLease(partition, dead);
  await anotherMillisecond(partition);
  const repaired = await repair(partition, REPAIR);
  assert.deepEqual([repaired.lost, idsOf(repaired.activations)], [2, runIds.slice(2)]);
  const order = await workOff(partition, leaseId, repaired.activations);
  assert.deepEqual(order.slice(2).toSorted(), runIds.slice(0, 2).toSorted());
});

test('an aborted run that is held back is claimed by the api, ends, and leaves nothing behind', async () => {
  const { partition, leaseId } = await capped({ maxRuns: 5, userMaxRuns: 1 });
  const { runIds, activations } = await submitAll(partition, times(3, { userId: 'u1' }));
  const [, heldBack = ''] = runIds;
  const flag = { requested_at: '2026-01-01T00:00:00.000Z', by: 'key_1', reason: null };
  await requestAbort(partition, { runId: heldBack, tenantId: TENANT, flag });
  const owner = await claim(partition, heldBack, { wakeSeq: null, leaseId: 'lease_api', leaseMs: 60_000 });
  const write: Write = { announce: [aborted()], after: { type: 'finish', status: 'aborted' } };
  assert.deepEqual((await owner.write(write)).activations, [], 'its user is at the cap still');
  await assertNoTraces(partition, heldBack);
  assert.deepEqual(await workOff(partition, leaseId, activations), [runIds[0], runIds[2]]);
  const left = /:(ready|ready_user|held_back|busy|busy_user|turns|admitted|capped_users|capped_tenants)(:|$)/;
  assert.deepEqual(
    (await allKeys(partition)).filter((key) => left.test(key)),
    [],
  );
});

test('the last run held back, once claimed, is no longer repair’s business', async () => {
  const { partition } = await capped({ userMaxRuns: 1 });
  const { runIds } = await submitAll(partition, times(2, { userId: 'u1' }));
  await claim(partition, runIds[1] ?? '', { wakeSeq: null, leaseId: 'lease_api', leaseMs: 60_000 });
  assert.equal(await partition.redis.exists(keyOf(partition, 'capped_users')), 0);
});
