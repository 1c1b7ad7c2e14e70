import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import type { SignalboxError } from '@signalbox/contracts';
import {
  abortedRuns,
  acknowledge,
  backfillRun,
  beginVerification,
  claimRun,
  closeLease,
  endVerification,
  findPrincipal,
  getTenantCaps,
  heldRuns,
  type LoadableRun,
  loadRun,
  markStored,
  markTrusted,
  mirrorApiKey,
  openLease,
  type Partition,
  readServerId,
  readTrust,
  releaseRuns,
  renewLease,
  repair,
  requestAbort,
  restoreCounters,
  submitRun,
  wakeRun,
  withdrawTrust,
} from '../src/index.ts';
import { DAY, FLAG, requested } from './drafts.ts';
import { money, record, snapshot } from './inspect.ts';
import { ask, park } from './steps.ts';
import {
  claim,
  code,
  freshPartition,
  leaderOn,
  lease,
  loadable,
  makeSubmission,
  type Owner,
  running,
  submit,
  TENANT,
  trust,
} from './support.ts';

/** An id that no server has. */
const NOBODY = '0'.repeat(40);

const untrusted = (error: unknown): boolean => code('state_untrusted')(error) && error.retryable;

interface Busy {
  readonly partition: Partition;
  readonly owner: Owner;
  readonly queued: string;
  readonly parked: string;
  readonly leaseId: string;
}

const busy = async (): Promise<Busy> => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 2);
  const owner = await running(partition, {}, leaseId);
  await ask(owner, 100);
  const waiting = await running(partition);
  await park(waiting, { dueMs: 1 });
  return {
    partition,
    owner,
    leaseId,
    parked: waiting.run.runId,
    queued: (await submit(partition)).runId,
  };
};

const WRITES: Readonly<Record<string, (world: Busy) => Promise<unknown>>> = {
  submit: ({ partition }) => submitRun(partition, makeSubmission().submission, { backlogLimit: 10 }),
  claim: ({ partition, queued, leaseId }) =>
    claimRun(partition, { runId: queued, wakeSeq: 1, leaseId, token: randomUUID() }),
  'claim of whoever must write': ({ partition, parked: runId }) =>
    claimRun(partition, { runId, wakeSeq: null, leaseId: 'l', token: randomUUID(), leaseMs: 1000 }),
  commit: ({ owner }) => ask(owner, 100, { id: 'h2', step: 2 }),
  wake: ({ partition, parked: runId }) => wakeRun(partition, runId, 'approval'),
  repair: ({ partition }) => repair(partition, { limit: 100, graceMs: 0 }),
  stored: ({ partition, owner }) => markStored(partition, [{ runId: owner.run.runId, seq: 1 }], 3600),
  release: ({ partition, owner, leaseId }) => releaseRuns(partition, leaseId, [owner.run.runId]),
};

for (const [name, write] of Object.entries(WRITES)) {
  test(`${name} writes nothing on a server that is not verified`, async () => {
    const world = await busy();
    const { partition } = world;
    await withdrawTrust(partition);
    const emptied = await snapshot(partition);
    await assert.rejects(write(world), untrusted);
    assert.deepEqual(await snapshot(partition), emptied);

    const here = await readServerId(partition);
    await markTrusted(partition, { ...here, server: NOBODY, incarnation: 3 });
    const restarted = await snapshot(partition);
    await assert.rejects(write(world), untrusted);
    assert.deepEqual(await snapshot(partition), restarted);
    assert.equal(await readTrust(partition), null);

    await trust(partition);
    await write(world);
  });
}

test('a stop is taken, leases are kept and somebody leads, all while nothing is verified', async () => {
  const { partition, owner, leaseId, parked: parkedId } = await busy();
  await withdrawTrust(partition);
  const { runId } = owner.run;
  assert.equal((await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG })).status, 'running');
  await requestAbort(partition, { runId: parkedId, tenantId: TENANT, flag: FLAG });
  assert.deepEqual(await abortedRuns(partition, leaseId), [runId]);
  const slots = { leaseMs: 600_000, slots: 5 };
  assert.deepEqual(await renewLease(partition, { leaseId, ...slots }), { type: 'live', activations: [] });
  assert.deepEqual(await openLease(partition, { leaseId: 'new', ...slots }), {
    type: 'live',
    activations: [],
  });
  await closeLease(partition, 'new');
  assert.equal(await leaderOn(partition, 't').hold(), true);

  await trust(partition);
  assert.equal((await owner.write({ announce: [requested(2)] })).code, 'ABORTED');
});

test('what an emptied server does not know is neither forbidden nor not found, but not known yet', async () => {
  const partition = await freshPartition();
  await withdrawTrust(partition);
  const { runId } = makeSubmission();
  await assert.rejects(requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG }), untrusted);
  await assert.rejects(findPrincipal(partition, 'hash', 0), untrusted);
  await assert.rejects(getTenantCaps(partition, 'another'), untrusted);
  const key = { keyId: 'key_1', tenantId: TENANT, scopes: [], expiresAt: null };
  await mirrorApiKey(partition, 'known', key);
  assert.deepEqual(await findPrincipal(partition, 'known', 0), {
    keyId: 'key_1',
    tenantId: TENANT,
    partition: partition.index,
    scopes: [],
  });

  await trust(partition);
  await assert.rejects(
    requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG }),
    (error: SignalboxError) => error.code === 'not_found',
  );
  assert.deepEqual(await findPrincipal(partition, 'hash', 0), { refused: 'unknown_key', owner: null });
  await assert.rejects(
    getTenantCaps(partition, 'another'),
    (error: SignalboxError) => error.code === 'cap_missing',
  );
});

test('claims of each incarnation have higher epochs than all before it', async () => {
  const partition = await freshPartition();
  const first = await running(partition);
  const server = await readServerId(partition);
  await markTrusted(partition, { ...server, incarnation: 2 });
  const second = await running(partition);
  const third = await running(partition);
  assert.deepEqual(
    [first, second, third].map(({ run }) => run.epoch),
    [1, 2 * 2 ** 32 + 1, 2 * 2 ** 32 + 1],
  );
  assert.equal(
    (await first.write({ announce: [requested(1)] })).code,
    'OK',
    'an owner goes on with its epoch',
  );
  await markTrusted(partition, { ...server, incarnation: 2_000_000 });
  assert.equal((await running(partition)).run.epoch, 2_000_000 * 2 ** 32 + 1);
});

const verified = async (partition: Partition, runs: readonly LoadableRun[]): Promise<void> => {
  const verification = await beginVerification(partition);
  for (const run of runs) assert.equal(await loadRun(partition, verification, run), true);
  await restoreCounters(partition, verification, { days: [], runs: new Map() });
  await endVerification(partition, verification, { incarnation: 1, batches: 0 });
};

test('a run that is loaded can be claimed once, with the next wake_seq and the next epoch', async () => {
  const partition = await freshPartition();
  const run = loadable({ holds: [{ id: 'h', amountNano: 40, day: DAY, settled: null }] });
  await verified(partition, [run]);
  const { activations } = await repair(partition, { limit: 10, graceMs: 0 });
  assert.deepEqual(activations, [{ runId: run.runId, wakeSeq: 4 }]);
  const { run: claimed } = await claim(partition, run.runId, { wakeSeq: 4 });
  assert.equal(claimed.epoch, 2 ** 32 + 1);
  assert.deepEqual(claimed.entries, run.entries);
  assert.deepEqual([...claimed.contents], [...run.contents]);
  for (const scope of [`run:${run.runId}`, `spend:tenant:acme:${DAY}`, `spend:user_month:acme:2026-01:u1`]) {
    assert.deepEqual(await money(partition, scope), { spent: 0, held: 40 }, scope);
  }
});

test('a run that was asked to stop does not wait for its timer when it is loaded, whoever knows of it', async () => {
  const partition = await freshPartition();
  const parkedRun = { status: 'waiting', waitingFor: 'timer', dueMs: Date.now() + 3_600_000 } as const;
  const told = loadable({ ...parkedRun, abort: FLAG });
  const flagged = loadable(parkedRun);
  const patient = loadable(parkedRun);
  await submit(partition, { runId: flagged.runId, entries: flagged.entries.slice(0, 1) });
  await partition.redis.hset(`${partition.root}:run:${flagged.runId}`, 'seq', 0);
  await withdrawTrust(partition);
  await requestAbort(partition, { runId: flagged.runId, tenantId: TENANT, flag: FLAG });
  await verified(partition, [told, flagged, patient]);
  const statuses = await Promise.all([told, flagged, patient].map(({ runId }) => record(partition, runId)));
  assert.deepEqual(
    statuses.map(({ status, abort }) => [status, abort !== undefined]),
    [
      ['queued', true],
      ['queued', true],
      ['waiting', false],
    ],
  );
});

test('spent never goes down, held is what is open, and a root that is not here gets no half record', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1', capNano: 1000 });
  await ask(owner, 70);
  const scope = `spend:tenant:acme:${DAY}`;
  await partition.redis.hset(`${partition.root}:${scope}`, { spent: '500', held: '999' });
  const verification = await beginVerification(partition);
  const day = { tenantId: 'acme', userId: 'u1', day: DAY };
  await restoreCounters(partition, verification, {
    days: [
      { ...day, spentNano: 300 },
      { ...day, userId: '', spentNano: 20 },
    ],
    runs: new Map([
      [owner.run.runId, 300],
      ['run_elsewhere', 5],
    ]),
  });
  assert.deepEqual(await money(partition, scope), { spent: 500, held: 70 });
  assert.deepEqual(await money(partition, `spend:tenant_month:acme:2026-01`), { spent: 320, held: 70 });
  assert.deepEqual(await money(partition, `spend:user:acme:${DAY}:u1`), { spent: 300, held: 70 });
  assert.deepEqual(await money(partition, `run:${owner.run.runId}`), { spent: 300, held: 70 });
  assert.equal(await partition.redis.exists(`${partition.root}:run:run_elsewhere`), 0);
  assert.ok((await partition.redis.ttl(`${partition.root}:${scope}`)) > 0, 'a day that is over expires');
});

const refusedBy = async (partition: Partition, overtake: () => Promise<unknown>): Promise<void> => {
  const verification = await beginVerification(partition);
  await overtake();
  const before = await snapshot(partition);
  await assert.rejects(loadRun(partition, verification, loadable()), untrusted);
  await assert.rejects(
    restoreCounters(partition, verification, { days: [], runs: new Map([['run_x', 1]]) }),
    untrusted,
  );
  await assert.rejects(endVerification(partition, verification, { incarnation: 1, batches: 0 }), untrusted);
  assert.deepEqual(await snapshot(partition), before);
};

test('a verification is over when Redis is emptied meanwhile', async () => {
  const partition = await freshPartition();
  await running(partition);
  await refusedBy(partition, () => withdrawTrust(partition));
  assert.equal(await readTrust(partition), null);
});

test('a verification is over when another begins, and when another has ended', async () => {
  const partition = await freshPartition();
  await running(partition);
  await refusedBy(partition, () => beginVerification(partition));
  await refusedBy(partition, async () =>
    endVerification(partition, await beginVerification(partition), { incarnation: 4, batches: 0 }),
  );
  assert.equal((await readTrust(partition))?.incarnation, 4);
});

test('a verification learns what was known of Postgres before, also from one that was cut off', async () => {
  const partition = await freshPartition();
  await markTrusted(partition, { ...(await readServerId(partition)), incarnation: 3 });
  for (const stored of [7, 8, 6]) await acknowledge(partition, ['0-1'], stored);
  assert.equal((await readTrust(partition))?.batches, 8);
  await withdrawTrust(partition);
  for (let n = 0; n < 2; n += 1) {
    const { seen } = await beginVerification(partition);
    assert.deepEqual(seen, { incarnation: 3, batches: 8 });
  }
  await endVerification(partition, await beginVerification(partition), { incarnation: 4, batches: 5 });
  const trust = await readTrust(partition);
  assert.deepEqual([trust?.incarnation, trust?.batches], [4, 5]);
});

test('only a verification hands events to the audit-writer again', async () => {
  const partition = await freshPartition();
  const { run } = await running(partition);
  const verification = await beginVerification(partition);
  const length = await partition.redis.xlen(`${partition.root}:audit`);
  await beginVerification(partition);
  await assert.rejects(backfillRun(partition, verification, { runId: run.runId, from: 0 }), untrusted);
  assert.equal(await partition.redis.xlen(`${partition.root}:audit`), length);
});

test('a marker is not written on another server than the one that was verified', async () => {
  const partition = await freshPartition();
  const verification = await beginVerification(partition);
  for (const other of [{ server: NOBODY }, { replid: NOBODY }])
    await assert.rejects(
      endVerification(partition, { ...verification, ...other }, { incarnation: 1, batches: 0 }),
      untrusted,
    );
  assert.equal(await readTrust(partition), null);
});

test('runs under a lease that nobody works on are released: holds charged, claimable again, others untouched (R10)', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 4);
  const owners = [await running(partition, {}, leaseId), await running(partition, {}, leaseId)];
  const [stray, own] = owners;
  assert.ok(stray !== undefined && own !== undefined);
  await ask(stray, 30);
  const ids = owners.map(({ run }) => run.runId);
  assert.deepEqual((await heldRuns(partition, leaseId)).toSorted(), ids.toSorted());
  const activations = await releaseRuns(partition, leaseId, [stray.run.runId]);
  assert.deepEqual(activations, [{ runId: stray.run.runId, wakeSeq: 2 }]);
  assert.deepEqual(await heldRuns(partition, leaseId), [own.run.runId]);
  assert.deepEqual(await money(partition, `run:${stray.run.runId}`), { spent: 30, held: 0 });
  assert.equal((await stray.write({ announce: [requested(2)] })).code, 'FENCED');
  await claim(partition, stray.run.runId, { wakeSeq: 2 });
  assert.deepEqual(await releaseRuns(partition, leaseId, [stray.run.runId]), [], 'another owner has it');
  assert.equal((await own.write({ announce: [requested(1)] })).code, 'OK');
});
