import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Activation,
  claimRun,
  type Partition,
  readDemand,
  repair,
  requestAbort,
  setTenantCaps,
  type Submission,
} from '../src/index.ts';
import { aborted, handedOver, parked, succeeded } from './drafts.ts';
import { allKeys, assertNoTraces, keyOf } from './inspect.ts';
import { startRedis, temporaryDir } from '@signalbox/local';
import {
  claim,
  expireLease,
  freshPartition,
  lease,
  openRedis,
  type Owner,
  submit,
  TENANT,
  type Write,
} from './support.ts';

/** Caps on how many runs of a tenant, and of each of its users, are worked on at once (`max_runs`, `user_max_runs`). */
const REPAIR = { limit: 200, graceMs: 60_000 };

const capped = async (
  caps: { maxRuns?: number | null; userMaxRuns?: number | null },
  slots = 100,
): Promise<{ partition: Partition; leaseId: string }> => {
  const partition = await freshPartition();
  await setTenantCaps(partition, TENANT, caps);
  return { partition, leaseId: await lease(partition, slots) };
};

const END: Write = { announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } };

/** Submits runs one after the other; what each admitted. */
const submitAll = async (partition: Partition, runs: readonly Partial<Submission>[]) => {
  const runIds: string[] = [];
  const activations: Activation[] = [];
  for (const overrides of runs) {
    const made = await submit(partition, overrides);
    runIds.push(made.runId);
    activations.push(...made.activations);
  }
  return { runIds, activations };
};

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
const idsOf = (activations: readonly Activation[]): string[] => activations.map(({ runId }) => runId);

const work = (partition: Partition, leaseId: string, activation: Activation | undefined): Promise<Owner> => {
  assert.ok(activation);
  return claim(partition, activation.runId, { wakeSeq: activation.wakeSeq, leaseId });
};

/** Until the server's clock shows another millisecond, so that what is queued now is younger than all before. */
const anotherMillisecond = async ({ redis }: Partition): Promise<void> => {
  const ms = async (): Promise<number> => {
    const [seconds, micros] = await redis.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  };
  const before = await ms();
  while ((await ms()) === before);
};

/** Works off everything, one after the other, and gives the order. */
const workOff = async (
  partition: Partition,
  leaseId: string,
  first: readonly Activation[],
): Promise<string[]> => {
  const due = [...first];
  const order: string[] = [];
  for (let next = due.shift(); next !== undefined; next = due.shift()) {
    order.push(next.runId);
    due.push(...(await (await work(partition, leaseId, next)).write(END)).activations);
  }
  return order;
};

for (const [what, caps] of [
  ['tenant', { maxRuns: 3 }],
  ['user', { userMaxRuns: 3 }],
] as const) {
  test(`no more runs of a ${what} are admitted than its cap allows, and each place goes to the next run`, async () => {
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

  test(`the places of a ${what} go by priority, then age`, async () => {
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

test('a run that goes before others of its user takes their place, but not from one that was admitted', async () => {
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

const RELEASES: Record<string, (owner: Owner) => Promise<readonly Activation[]>> = {
  finish: async (owner) => (await owner.write(END)).activations,
  'hand-over': async (owner) =>
    (await owner.write({ announce: [handedOver()], after: { type: 'hand_over', failed: false } }))
      .activations,
  park: async (owner) =>
    (
      await owner.write({
        announce: [parked('approval')],
        after: { type: 'park', reason: 'approval', wakeSeq: owner.run.wakeSeq, dueMs: null, capacity: null },
      })
    ).activations,
};

for (const [how, letGo] of Object.entries(RELEASES)) {
  for (const caps of [{ maxRuns: 1 }, { userMaxRuns: 1 }]) {
    test(`${how} gives the place to the next run: ${JSON.stringify(caps)}`, async () => {
      const { partition, leaseId } = await capped(caps);
      const { runIds, activations } = await submitAll(partition, times(3, { userId: 'u1' }));
      const owner = await work(partition, leaseId, activations[0]);
      await anotherMillisecond(partition);
      assert.deepEqual(idsOf(await letGo(owner)), runIds.slice(1, 2));
    });
  }
}

test('a lost lease gives its places back, and its runs wait behind the others', async () => {
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

test('a lost activation of a capped run is added again and holds its place meanwhile', async () => {
  const { partition } = await capped({ maxRuns: 1 });
  const { runIds, activations } = await submitAll(partition, times(2, {}));
  const again = await repair(partition, { limit: 10, graceMs: 0 });
  assert.deepEqual(again.activations, activations);
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

const demand = async (partition: Partition) => {
  const { runnable, waiting, active } = await readDemand(partition, Date.now());
  return { runnable, waiting, active };
};

for (const slots of [100, 0]) {
  test(`demand leaves out what a cap keeps back, with ${slots} slots`, async () => {
    const { partition, leaseId } = await capped({ userMaxRuns: 2 }, slots);
    const { activations } = await submitAll(partition, [...times(10, { userId: 'u1' }), ...times(2, {})]);
    assert.deepEqual(await demand(partition), { runnable: 4, waiting: 12, active: 0 });
    await work(partition, leaseId, activations[0]);
    assert.deepEqual(await demand(partition), { runnable: 4, waiting: 11, active: 1 });
    await setTenantCaps(partition, TENANT, { maxRuns: 3 });
    assert.equal((await demand(partition)).runnable, slots > 0 ? 4 : 3, 'those with a place count');
    await setTenantCaps(partition, TENANT, { maxRuns: 0 });
    const { runnable, active } = await demand(partition);
    assert.ok(runnable >= active);
  });
}

test('demand never goes below what is active, though claims do not ask for a place', async () => {
  const { partition } = await capped({ maxRuns: 1, userMaxRuns: 1 });
  const { runIds } = await submitAll(partition, times(5, { userId: 'u1' }));
  for (const runId of runIds.slice(0, 3)) {
    await claim(partition, runId, { wakeSeq: null, leaseId: 'lease_api', leaseMs: 60_000 });
  }
  assert.deepEqual(await demand(partition), { runnable: 3, waiting: 2, active: 3 });
});

/** Time a script call took on the server, by Redis's own account: the slowest since the last reset. */
const slowestMicros = async ({ redis }: Partition): Promise<number> => {
  const entries = (await redis.call('SLOWLOG', 'GET', '-1')) as [number, number, number, string[]][];
  return Math.max(
    0,
    ...entries.filter(([, , , [name]]) => /^eval/i.test(name ?? '')).map(([, , micros]) => micros),
  );
};

const BACKLOG = 10_000;
/** What one call may put aside; a bound on work, where a bound on time would depend on the machine. */
const MOST_PER_CALL = 500;

/** A backlog that was let into the line before its user had a cap. */
const giveBacklog = async (partition: Partition): Promise<void> => {
  const pipeline = partition.redis.pipeline();
  const run = { status: 'queued', wake_seq: 1, tenant: TENANT, user: 'u1', rank: 1 };
  for (let n = 0; n < BACKLOG; n += 1) {
    pipeline.hset(keyOf(partition, `run:b${n}`), run);
    for (const list of [`ready:${TENANT}`, `ready_user:${TENANT}:u1`, 'queued:1']) {
      pipeline.zadd(keyOf(partition, list), n, `b${n}`);
    }
  }
  pipeline.zadd(keyOf(partition, 'turns'), 1, TENANT);
  await pipeline.exec();
};

test(`a backlog of ${BACKLOG} runs of one user over its cap makes no call slow and delays nobody`, async (t) => {
  const server = await startRedis({ dir: await temporaryDir() });
  t.after(() => server.stop());
  const redis = await openRedis('state', server.url);
  const partition = await freshPartition(redis);
  const leaseId = await lease(partition, 100);
  const { activations } = await submitAll(partition, times(100, { userId: 'u1' }));
  assert.equal(activations.length, 100, 'the fleet is full but for what is kept for others');
  await giveBacklog(partition);
  await setTenantCaps(partition, TENANT, { userMaxRuns: 1 });
  const other = await submit(partition, { userId: 'u2' });
  const stranger = await submit(partition, { tenantId: 'other' });
  await redis.config('SET', 'slowlog-max-len', '100000');
  await redis.config('SET', 'slowlog-log-slower-than', '0');
  await redis.call('SLOWLOG', 'RESET');
  const admitted: string[] = [];
  const aside = [0];
  const heldBack = (): Promise<number> => redis.zcard(keyOf(partition, `held_back:${TENANT}:u1`));
  for (const activation of activations.slice(0, 25)) {
    const owner = await work(partition, leaseId, activation);
    admitted.push(...idsOf((await owner.write(END)).activations));
    aside.push(await heldBack());
  }
  admitted.push(...idsOf((await repair(partition, REPAIR)).activations));
  const micros = await slowestMicros(partition);
  process.stdout.write(`longest call ${(micros / 1000).toFixed(1)} ms\n`);
  assert.equal(stranger.activations.length, 1, 'another tenant waits for nothing');
  assert.deepEqual(admitted, [other.runId]);
  const most = Math.max(...aside.slice(1).map((now, i) => now - (aside[i] ?? 0)));
  assert.ok(most <= MOST_PER_CALL, `${most} runs put aside by one call`);
  assert.deepEqual(await demand(partition), { runnable: 77, waiting: BACKLOG + 77, active: 0 });
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
