/** What holds of run state after whatever step: every run is somewhere, money adds up (R5, R7, R10). */
import assert from 'node:assert/strict';
import { type Partition, readDemand } from '../src/index.ts';
import { DAY } from './drafts.ts';
import { keyOf, money, record, waitersKey } from './inspect.ts';
import { TENANTS, type World } from './world.ts';

export const CAP = 100;

/** Where a run is to be found, by what would get it going again. */
const whereabouts = async (partition: Partition, runId: string, run: Record<string, string>) => {
  const { redis } = partition;
  const [owner, tenant, user] = [run['owner'] ?? '', run['tenant'] ?? '', run['user'] ?? ''];
  const scored = async (key: string) => (await redis.zscore(keyOf(partition, key), runId)) !== null;
  const among = async (key: string) => (await redis.sismember(keyOf(partition, key), runId)) === 1;
  return {
    ready: await scored(`ready:${tenant}`),
    readyOfUser: await scored(`ready_user:${tenant}:${user}`),
    heldBack: await scored(`held_back:${tenant}:${user}`),
    admitted: await scored('admitted'),
    busy: await among(`busy:${tenant}`),
    busyOfUser: await among(`busy_user:${tenant}:${user}`),
    queued: await scored(`queued:${run['rank']}`),
    running: await scored('running'),
    // Live, or due for repair.
    leased:
      (await among(`lease:${owner}`)) && (await redis.zscore(keyOf(partition, 'leases'), owner)) !== null,
    stopping: await among(`lease:${owner}:aborts`),
    parked: await scored('parked'),
    pressed: await scored('pressured'),
    timer: await scored('timers'),
    waiter: (await redis.zscore(waitersKey(partition, run), runId)) !== null,
  };
};

const NOWHERE = {
  ready: false,
  readyOfUser: false,
  heldBack: false,
  admitted: false,
  busy: false,
  busyOfUser: false,
  queued: false,
  running: false,
  leased: false,
  stopping: false,
  parked: false,
  pressed: false,
  timer: false,
  waiter: false,
};

interface Permits {
  /** Runs that hold a permit, by tenant and by tenant and user. */
  readonly busy: number;
  readonly cap: number;
}

const capOf = (value: string | null | undefined): number =>
  value === null || value === undefined || value === 'inf' ? Number.POSITIVE_INFINITY : Number(value);

const tenantPermits = async ({ redis, root }: Partition, tenant: string): Promise<Permits> => ({
  busy: await redis.scard(`${root}:busy:${tenant}`),
  cap: capOf(await redis.hget(`${root}:caps:${tenant}`, 'max_runs')),
});

/** Runs in ready count: they are there because there is a permit for them. */
const userPermits = async ({ redis, root }: Partition, tenant: string, user: string): Promise<Permits> => ({
  busy:
    (await redis.scard(`${root}:busy_user:${tenant}:${user}`)) +
    (await redis.zcard(`${root}:ready_user:${tenant}:${user}`)),
  cap: capOf(await redis.hget(`${root}:caps:${tenant}`, 'user_max_runs')),
});

/** A queued run that is with no worker is next in its tenant's line, or a cap keeps it back: nothing else (R10). */
const assertWaitsRightly = async (
  { partition, capsChanged, seen }: World,
  run: Record<string, string>,
  heldBack: boolean,
): Promise<void> => {
  const { redis } = partition;
  const [tenant, user] = [run['tenant'] ?? '', run['user'] ?? ''];
  if (heldBack) {
    seen.add('held-back');
    const { busy, cap } = await userPermits(partition, tenant, user);
    assert.ok(capsChanged || busy >= cap, `held back with ${busy} of ${cap} permits taken`);
    const listed = await redis.sismember(keyOf(partition, 'capped_users'), JSON.stringify([tenant, user]));
    assert.equal(listed, 1, 'repair must know of it');
  } else if ((await redis.zscore(keyOf(partition, 'turns'), tenant)) === null) {
    seen.add('tenant-capped');
    const { busy, cap } = await tenantPermits(partition, tenant);
    assert.ok(capsChanged || busy >= cap, `no turn with ${busy} of ${cap} permits taken`);
    assert.equal(await redis.sismember(keyOf(partition, 'capped_tenants'), tenant), 1, 'repair must know');
  }
};

/** R10 for one run in one state. */
export const assertFound = async (world: World, runId: string): Promise<void> => {
  const { partition } = world;
  const run = await record(partition, runId);
  const found = await whereabouts(partition, runId, run);
  const hasUser = run['user'] !== '';
  const placed = { admitted: true, busy: true, busyOfUser: hasUser };
  const reason = run['reason'];
  switch (run['status']) {
    case 'queued':
      if (found.admitted) assert.deepEqual(found, { ...NOWHERE, queued: true, ...placed });
      else if (found.heldBack) assert.deepEqual(found, { ...NOWHERE, queued: true, heldBack: true });
      else assert.deepEqual(found, { ...NOWHERE, queued: true, ready: true, readyOfUser: hasUser });
      if (!found.admitted) await assertWaitsRightly(world, run, found.heldBack);
      return;
    case 'running':
      assert.deepEqual(found, {
        ...NOWHERE,
        running: true,
        leased: true,
        stopping: run['abort'] !== undefined,
        ...placed,
      });
      return;
    case 'waiting':
      assert.deepEqual(found, {
        ...NOWHERE,
        parked: true,
        timer: reason === 'timer',
        pressed: reason === 'capacity' && !found.waiter,
        waiter: reason === 'capacity' && !found.pressed,
      });
      return;
    default:
      assert.deepEqual(found, NOWHERE);
  }
};

/** Runs that were given to the queue and not claimed yet. */
export const handedOut = async ({ redis, root }: Partition): Promise<string[]> =>
  redis.zrangebyscore(`${root}:admitted`, '-inf', '(+inf');

/** Whoever was admitted by what just happened found a permit under both caps. */
export const assertAdmitted = async ({ partition }: World, before: readonly string[]): Promise<void> => {
  const { redis, root } = partition;
  for (const runId of (await handedOut(partition)).filter((id) => !before.includes(id))) {
    const { tenant = '', user = '' } = await record(partition, runId);
    const ofTenant = await tenantPermits(partition, tenant);
    assert.ok(ofTenant.busy <= ofTenant.cap, `${tenant}: ${ofTenant.busy} of ${ofTenant.cap} permits`);
    if (user === '') continue;
    const busy = await redis.scard(`${root}:busy_user:${tenant}:${user}`);
    const { cap } = await userPermits(partition, tenant, user);
    assert.ok(busy <= cap, `${tenant} ${user}: ${busy} of ${cap} permits`);
  }
};

/** After a repair nothing that may start is left over while there is room with the workers. */
export const assertNoneForgotten = async ({ partition }: World): Promise<void> => {
  const { redis, root } = partition;
  if ((await readDemand(partition, Date.now())).pressureLevel > 0) return;
  const slots = (await redis.hvals(`${root}:slots`)).reduce((sum, n) => sum + Number(n), 0);
  const room = Math.max(1, Math.floor(slots * 1.5)) - (await redis.zcard(`${root}:admitted`));
  if (room > 0) assert.deepEqual(await redis.zrange(`${root}:turns`, '0', '-1'), []);
};

/** A run counts as waiting for a worker exactly when no cap keeps it back; `later`, so that none waits for 0 s. */
export const assertOldest = async ({ partition, runs }: World): Promise<void> => {
  const waits = runs.map(async (runId) => {
    const run = await record(partition, runId);
    if (run['status'] !== 'queued') return false;
    const { admitted, ready } = await whereabouts(partition, runId, run);
    const { busy, cap } = await tenantPermits(partition, run['tenant'] ?? '');
    return admitted || (ready && busy < cap);
  });
  const later = Date.now() + 1000;
  const { oldestWaitingSeconds } = await readDemand(partition, later);
  assert.equal(oldestWaitingSeconds > 0, (await Promise.all(waits)).includes(true));
};

export const INDEXES =
  /:(ready|ready_user|held_back|busy|busy_user):|:(turns|admitted|promised|pressured|capped_tenants|capped_users|running|parked|timers)$/;

export const assertMoney = async (world: World): Promise<void> => {
  for (const tenant of TENANTS) {
    const { spent, held } = await money(world.partition, `spend:tenant:${tenant}:${DAY}`);
    assert.ok(spent >= 0 && held >= 0 && spent + held <= CAP, `${tenant}: ${spent} + ${held} <= ${CAP}`);
  }
};
