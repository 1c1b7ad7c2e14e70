/** For how long the oldest run waits that workers could take: not one that a cap keeps back on purpose. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRedis, temporaryDir } from '@signalbox/local';
import { type Partition, readDemand, repair, runKey, setTenantCaps } from '../src/index.ts';
import { keyOf } from './inspect.ts';
import { capped, END, REPAIR, submitAll, times, work } from './steps.ts';
import { freshPartition, lease, openRedis, TENANT } from './support.ts';

const HOUR = 3600;

const oldest = async (partition: Partition): Promise<number> =>
  Math.floor((await readDemand(partition, Date.now())).oldestWaitingSeconds);

/** As if they had become runnable so long ago. */
const age = async (partition: Partition, runIds: readonly string[], seconds: number): Promise<void> => {
  const { redis } = partition;
  const lists = ['queued:0', 'queued:1', 'queued:2', `ready:${TENANT}`, `held_back:${TENANT}:u1`];
  for (const runId of runIds) {
    await redis.hincrby(runKey(partition, runId), 'queued_ms', -seconds * 1000);
    for (const list of lists) {
      const key = keyOf(partition, list);
      if ((await redis.zscore(key, runId)) !== null) await redis.zincrby(key, -seconds * 1000, runId);
    }
  }
};

for (const [what, caps] of [
  ['tenant', { maxRuns: 1 }],
  ['user', { userMaxRuns: 1 }],
] as const) {
  test(`runs that the cap of a ${what} keeps back do not count, with idle workers`, async () => {
    const { partition, leaseId } = await capped(caps);
    const { runIds, activations } = await submitAll(partition, times(10, { userId: 'u1' }));
    await age(partition, runIds, HOUR);
    assert.equal(await oldest(partition), 0, 'the first was given to the queue just now');
    const owner = await work(partition, leaseId, activations[0]);
    assert.equal(await oldest(partition), 0);
    const { activations: next } = await owner.write(END);
    assert.equal(await oldest(partition), 0, 'its place went to the next, just now');
    await setTenantCaps(partition, TENANT, { maxRuns: null, userMaxRuns: null });
    await work(partition, leaseId, next[0]);
    await repair(partition, REPAIR);
    assert.equal(await oldest(partition), HOUR, 'nothing keeps them back any more');
  });

  test(`a run below the cap of a ${what} that nobody takes waits since it was admitted`, async () => {
    const { partition, leaseId } = await capped(caps);
    const { runIds } = await submitAll(partition, times(2, { userId: 'u1' }));
    await age(partition, runIds, HOUR);
    for (let tries = 1; tries <= 3; tries += 1) {
      await partition.redis.zincrby(keyOf(partition, 'admitted'), -20_000, runIds[0] ?? '');
      const { activations } = await repair(partition, { limit: 10, graceMs: 10_000 });
      assert.equal(activations.length, 1, 'it is given out again');
      assert.equal(await oldest(partition), 20, 'and waits all the same');
      if (tries === 3) await work(partition, leaseId, activations[0]);
    }
    assert.equal(await oldest(partition), 0);
    const record = await partition.redis.hgetall(runKey(partition, runIds[0] ?? ''));
    assert.ok(!('admitted_ms' in record));
  });
}

test('a run without caps waits since it was runnable, admitted or not, whatever its priority', async () => {
  const { partition, leaseId } = await capped({}, 1);
  const { runIds, activations } = await submitAll(
    partition,
    (['normal', 'high', 'low', 'normal'] as const).map((priority) => ({ userId: 'u1', priority })),
  );
  assert.equal(activations.length, 1);
  for (const [i, runId] of runIds.entries()) await age(partition, [runId], [40, 10, 30, 20][i] ?? 0);
  assert.equal(await oldest(partition), 40, 'the admitted one');
  const owner = await work(partition, leaseId, activations[0]);
  assert.equal(await oldest(partition), 30, 'the low one, in line');
  await owner.write(END);
  assert.equal(await oldest(partition), 30);
});

test('in a full fleet, a run of a tenant with room waits, beside an older one of a tenant without', async () => {
  const { partition, leaseId } = await capped({ maxRuns: 1 }, 1);
  const ofAcme = await submitAll(partition, times(3, { userId: 'u1' }));
  await work(partition, leaseId, ofAcme.activations[0]);
  await age(partition, ofAcme.runIds, HOUR);
  const { runIds } = await submitAll(partition, times(2, { tenantId: 'other' }));
  await partition.redis.zincrby(keyOf(partition, 'ready:other'), -50_000, runIds[1] ?? '');
  await partition.redis.zincrby(keyOf(partition, 'queued:1'), -50_000, runIds[1] ?? '');
  assert.equal(await oldest(partition), 50);
});

test('it takes no more than a bound of looks, however many tenants and runs wait', async (t) => {
  const server = await startRedis({ dir: await temporaryDir() });
  t.after(() => server.stop());
  const redis = await openRedis('state', server.url);
  const partition = await freshPartition(redis);
  await lease(partition, 100);
  await setTenantCaps(partition, TENANT, { maxRuns: 0 });
  const long = Date.now() - HOUR * 1000;
  const pipeline = redis.pipeline();
  const put = (tenant: string, runId: string, since: number): void => {
    pipeline.zadd(keyOf(partition, `ready:${tenant}`), 1e13 + since, runId);
    pipeline.zadd(keyOf(partition, 'queued:1'), since, runId);
  };
  for (let n = 0; n < 20_000; n += 1) put(TENANT, `kept${n}`, long);
  pipeline.sadd(keyOf(partition, 'capped_tenants'), TENANT);
  for (let n = 0; n < 3000; n += 1) {
    put(`t${n}`, `run${n}`, Date.now() - 60_000);
    pipeline.zadd(keyOf(partition, 'turns'), n, `t${n}`);
  }
  await pipeline.exec();
  await redis.config('RESETSTAT');
  const age = await oldest(partition);
  assert.ok(age >= 60 && age < 600, `${age} s`);
  const stats = await redis.info('commandstats');
  const looks = Number(/cmdstat_zrangebyscore:calls=(\d+)/.exec(stats)?.[1]);
  assert.ok(looks <= 1001, `${looks} looks`);
});
