/** What a hand wrote into the keys of one tenant stops nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  getTenantCaps,
  type Partition,
  readDemand,
  renewLease,
  repair,
  setTenantCaps,
} from '../src/index.ts';
import { keyOf } from './inspect.ts';
import { ask, GRACE, park } from './steps.ts';
import { cap, claim, code, freshPartition, lease, running, submit, TENANT } from './support.ts';

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
