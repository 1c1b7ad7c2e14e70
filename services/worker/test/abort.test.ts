/** A run stops when told, wherever it is (R7): the socket is closed, the cost is settled, and nothing comes after. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { connect, createTail, disconnect, requestAbort } from '@signalbox/run-state';
import { fakeProvider, HAIKU, inTurn, MINI } from './fake.ts';
import { openWorld, type RunSeen, script, TENANT, type World } from './harness.ts';
import type { TestWorker } from './test-worker.ts';
import { oversleeping } from './oversleeping.ts';
import { gate, toolboxWith } from './tools.ts';

const abort = (world: World, runId: string) =>
  requestAbort(world.partition, {
    runId,
    tenantId: TENANT,
    flag: { requested_at: new Date().toISOString(), by: 'key_9', reason: 'enough' },
  });

/** The hint on its way, as main.ts wires it. */
const listen = async (world: World, worker: TestWorker): Promise<void> => {
  const subscriber = connect(world.url, 'subscriber', { onError: () => undefined });
  after(() => disconnect(subscriber));
  await createTail(subscriber).watchAborts(world.partition, (runId) => worker.runs.abort(runId));
};

const assertAborted = (run: RunSeen, caught: string): void => {
  assert.equal(run.state.status, 'aborted');
  assert.deepEqual(
    run.all('run.aborted').map((receipt) => receipt.caught),
    [caught],
  );
  const [request, ...more] = run.all('run.abort_requested');
  assert.deepEqual([request?.by, request?.reason, more.length], ['key_9', 'enough', 0]);
  assert.equal(run.types.at(-1), 'run.aborted');
  assert.equal(run.broken, null);
  assert.equal(run.state.heldNano, 0);
};

describe('abort', () => {
  test('before it starts', async () => {
    const world = await openWorld();
    const runId = await world.submit();
    await abort(world, runId);
    const worker = await world.worker();
    await world.settle(worker);
    const run = await world.read(runId);
    assertAborted(run, 'before_start');
    assert.equal(run.all('llm.requested').length, 0);
    const metrics = await worker.metrics.registry.render();
    assert.match(metrics, /^signalbox_runs_finished_total\{[^}]*status="aborted"[^}]*\} 1$/m);
    assert.match(metrics, /^signalbox_aborts_total\{state="before_start"\} 1$/m);
    assert.match(metrics, /^signalbox_abort_latency_seconds_count 1$/m);
  });

  test('between two steps, without any hint: the next commit says so', async () => {
    const world = await openWorld();
    const [started, go] = [gate(), gate()];
    const toolbox = toolboxWith(async () => {
      started.open();
      await go.opened;
      return 'done';
    });
    const worker = await world.worker({ toolbox });
    const runId = await world.submit({
      input: script({ tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] }, { text: 'no' }),
      spec: { tools: ['http_request'] },
    });
    const settled = world.settle(worker);
    await started.opened;
    await abort(world, runId);
    go.open();
    await settled;
    const run = await world.read(runId);
    assertAborted(run, 'between_steps');
    assert.equal(run.all('tool.completed').length, 1, 'what was done is on record');
    assert.equal(run.all('llm.requested').length, 1);
  });

  test('while a tool runs: its signal aborts', async () => {
    const world = await openWorld();
    const started = gate();
    let stopped = false;
    const toolbox = toolboxWith((_, { signal }) => {
      signal.addEventListener('abort', () => (stopped = true));
      started.open();
      return new Promise(() => undefined);
    });
    const worker = await world.worker({ toolbox });
    await listen(world, worker);
    const runId = await world.submit({
      input: script({ tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] }),
      spec: { tools: ['http_request'] },
    });
    const settled = world.settle(worker);
    await started.opened;
    await abort(world, runId);
    await settled;
    assert.ok(stopped);
    const run = await world.read(runId);
    assertAborted(run, 'in_flight');
    assert.equal(run.all('tool.failed')[0]?.code, 'aborted');
  });

  for (const model of [HAIKU, MINI]) {
    test(`during a slow stream of ${model}: the socket is closed, and what came is charged`, async () => {
      const world = await openWorld();
      const words = 'word '.repeat(2000);
      const { behave } = inTurn({
        text: words,
        chunkDelayMs: 20,
        usage: { input_tokens: 1000, output_tokens: 2000 },
      });
      const provider = await fakeProvider(behave);
      const worker = await world.worker({ provider });
      await listen(world, worker);
      const subscriber = connect(world.url, 'subscriber', { onError: () => undefined });
      after(() => disconnect(subscriber));
      const runId = await world.submit({ spec: { model } });
      let deltas = 0;
      await createTail(subscriber).watch(
        world.partition,
        runId,
        ({ type }) => (deltas += type === 'delta' ? 1 : 0),
      );
      const settled = world.settle(worker);
      await until('text arrives', () => deltas > 2);
      await abort(world, runId);
      await settled;
      await until('the provider noticed', () => provider.ledger[0]?.finishedAt !== null);
      const [billed] = provider.ledger;
      assert.equal(billed?.closedByClient, true);
      const run = await world.read(runId);
      assertAborted(run, 'in_flight');
      const [failed] = run.all('llm.failed');
      assert.equal(failed?.code, 'aborted');
      const observed = failed?.settlement?.observed_nano ?? 0;
      const hold = run.all('llm.requested')[0]?.hold?.amount_nano ?? 0;
      assert.equal(failed?.settlement?.estimated, true);
      assert.ok(
        observed >= (billed?.costNano ?? 0),
        `${observed} covers the ${billed?.costNano} the provider bills`,
      );
      assert.ok(observed < hold, 'and is less than the worst case');
      const day = new Date().toISOString().slice(0, 10);
      assert.deepEqual(await world.money(`spend:tenant:${TENANT}:${day}`), { spent: observed, held: 0 });
    });
  }

  test('while what its call needs is loaded: the call is neither announced nor sent', async () => {
    const world = await openWorld();
    const loading = Promise.withResolvers<void>();
    let asked = false;
    const worker = await world.worker({
      models: {
        load: () => {
          asked = true;
          return loading.promise;
        },
        call: () => Promise.reject(new Error('it was sent')),
      },
    });
    const runId = await world.submit({ spec: { model: HAIKU } });
    const settled = world.settle(worker);
    await until('it is being loaded', () => asked);
    await abort(world, runId);
    loading.resolve();
    await settled;
    const run = await world.read(runId);
    assertAborted(run, 'before_start');
    assert.equal(run.all('llm.requested').length, 0);
  });

  test('a hint that got lost is made up for by looking', async () => {
    const world = await openWorld();
    const worker = await world.worker();
    const runId = await world.submit({ input: script({ text: 'x', delay_ms: 60_000 }) });
    const settled = world.settle(worker);
    await until('the call is announced', async () =>
      (await world.read(runId)).types.includes('llm.requested'),
    );
    await abort(world, runId);
    await worker.runs.pollAborts();
    await settled;
    assertAborted(await world.read(runId), 'in_flight');
  });

  test('while it is parked, and during a pause before a retry', async () => {
    const world = await openWorld();
    const worker = await world.worker();
    await listen(world, worker);
    const parked = await world.submit({
      input: script({ tool_calls: [{ name: 'wait', arguments: { seconds: 3600 } }] }),
      spec: { tools: ['wait'] },
    });
    await world.settle(worker);
    assert.equal((await world.read(parked)).state.status, 'waiting');
    await abort(world, parked);
    await world.repair();
    await world.settle(worker);
    assertAborted(await world.read(parked), 'between_steps');

    const { behave, requests } = inTurn({ status: 429, headers: { 'retry-after': '4' }, text: 'slow down' });
    const provider = await fakeProvider(behave);
    const second = await world.worker({ provider, clock: oversleeping });
    await listen(world, second);
    const retrying = await world.submit({ spec: { model: HAIKU } });
    const settled = world.settle(second);
    await until('the call has failed', async () => (await world.read(retrying)).types.includes('llm.failed'));
    await abort(world, retrying);
    await settled; // it would not be, did it sleep on
    assertAborted(await world.read(retrying), 'between_steps');
    assert.equal(requests.length, 1);
  });

  test('one that comes after the end is refused, and the end stands', async () => {
    const world = await openWorld();
    const run = await world.play(await world.worker(), { input: 'x', spec: { model: 'mock/echo' } });
    await assert.rejects(abort(world, run.state.runId), { code: 'run_terminal' });
    const again = await world.read(run.state.runId);
    assert.deepEqual(again.types, run.types);
    assert.equal(await world.field(run.state.runId, 'status'), 'succeeded');
  });
});
