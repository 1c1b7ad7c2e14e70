import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import type { SignalboxError } from '@signalbox/contracts';
import {
  abortedRuns,
  claimRun,
  closeLease,
  findPrincipal,
  getTenantCaps,
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
  submitRun,
  wakeRun,
  withdrawTrust,
} from '../src/index.ts';
import { FLAG, requested } from './drafts.ts';
import { snapshot } from './inspect.ts';
import { ask, park } from './steps.ts';
import {
  freshPartition,
  leaderOn,
  lease,
  makeSubmission,
  type Owner,
  running,
  submit,
  TENANT,
  trust,
  untrusted,
  NOBODY,
} from './support.ts';

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
