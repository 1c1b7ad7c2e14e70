/** The store may hold runs under a worker's lease that the worker knows nothing of: Redis came back older (R10). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { claimRun, heldRuns } from '@signalbox/run-state';
import { openWorld, script } from './harness.ts';
import { gate, toolboxWith } from './tools.ts';

test('a run that nobody here works on is let go and done by whoever claims it; one under work is kept', async () => {
  const world = await openWorld();
  const [started, go] = [gate(), gate()];
  const toolbox = toolboxWith(async () => {
    started.open();
    await go.opened;
    return 'done';
  });
  const worker = await world.worker({ toolbox });
  const kept = await world.submit({
    input: script({ tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] }, { text: 'kept' }),
    spec: { tools: ['http_request'] },
  });
  const working = world.settle(worker);
  await started.opened;
  const stray = await world.submit({ input: script({ text: 'found again' }) });
  const { leaseId } = worker;
  const claim = { runId: stray, wakeSeq: 1, leaseId, token: 'of a claim that Redis remembers' };
  assert.equal((await claimRun(world.partition, claim)).type, 'claimed');

  await worker.runs.pollHeld();
  assert.deepEqual(await heldRuns(world.partition, leaseId), [kept]);
  // Nothing is let go twice, and nothing that is under work.
  await worker.runs.pollHeld();
  go.open();
  await working;
  await until('both to end', async () => {
    await world.settle(worker);
    const ends = await Promise.all([kept, stray].map((runId) => world.read(runId)));
    return ends.every(({ state }) => state.status === 'succeeded');
  });
  const run = await world.read(stray);
  assert.equal(run.broken, null);
  assert.equal(run.all('run.claimed').length, 1);
});
