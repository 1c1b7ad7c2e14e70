import assert from 'node:assert/strict';
import { test } from 'node:test';
import { heldRuns, releaseRuns } from '../src/index.ts';
import { requested } from './drafts.ts';
import { money } from './inspect.ts';
import { ask } from './steps.ts';
import { claim, freshPartition, lease, running } from './support.ts';

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
