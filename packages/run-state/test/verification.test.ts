import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  acknowledge,
  backfillRun,
  beginVerification,
  endVerification,
  loadRun,
  markTrusted,
  type Partition,
  readServerId,
  readTrust,
  restoreCounters,
  withdrawTrust,
} from '../src/index.ts';
import { snapshot } from './inspect.ts';
import { freshPartition, loadable, NOBODY, running, untrusted } from './support.ts';

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
