/** A worker that is told to stop: wherever its runs are, none fails, none is lost, and others go on with them at once. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { createLogger, systemClock } from '@signalbox/runtime';
import { drainWorker } from '../src/intake/drain.ts';
import { Intake } from '../src/intake/intake.ts';
import { fakeProvider, HAIKU, inTurn, MINI } from './fake.ts';
import { openWorld, type RunSeen, script, TENANT, type World } from './harness.ts';
import type { TestWorker } from './test-worker.ts';
import { oversleeping } from './oversleeping.ts';
import { gate, toolboxWith } from './tools.ts';

const call = (key: string) => ({ id: key, name: 'http_request', arguments: { key } });

/** Gives all that is runnable to the worker, which may be told to go meanwhile. */
const begin = (world: World, worker: TestWorker) =>
  Promise.all(world.pending.splice(0).map((activation) => worker.work(activation)));

const finishElsewhere = async (world: World, runId: string, options = {}): Promise<RunSeen> => {
  await world.settle(await world.worker(options));
  return world.read(runId);
};

const assertHandedOver = async (world: World, runId: string): Promise<RunSeen> => {
  const run = await world.read(runId);
  assert.equal(run.types.at(-1), 'run.handed_over');
  assert.deepEqual(run.all('run.handed_over'), [{ reason: 'drain' }]);
  assert.equal(await world.field(runId, 'claims'), '0', 'no claim counts as one in vain');
  assert.equal(await world.field(runId, 'owner'), null);
  assert.deepEqual(
    world.pending.map((one) => one.runId),
    [runId],
    'it is runnable at once',
  );
  return run;
};

describe('a worker that stops', { concurrency: true }, () => {
  test('hands over a run that waits between two attempts, without waiting for its retry', async () => {
    const world = await openWorld();
    const turns = inTurn({ status: 503, headers: { 'retry-after': '4' } }, { text: 'second attempt' });
    const provider = await fakeProvider(turns.behave);
    const worker = await world.worker({ provider, clock: oversleeping });
    const runId = await world.submit({ spec: { model: HAIKU } });
    const working = begin(world, worker);
    await until('the first attempt has failed', async () =>
      (await world.read(runId)).types.includes('llm.failed'),
    );
    worker.drain();
    await working; // it would not end, did it sleep to the retry
    await assertHandedOver(world, runId);
    assert.equal(turns.requests.length, 1);
    const run = await finishElsewhere(world, runId, { provider });
    assert.equal(run.output, 'second attempt');
    assert.deepEqual(
      run.all('llm.requested').map(({ attempt }) => attempt),
      [1, 2],
    );
    assert.equal(run.broken, null);
  });

  test('lets the tools of one answer end, side by side, before it hands over', async () => {
    const world = await openWorld();
    const gates = new Map(['a', 'b'].map((key) => [key, gate()]));
    const calls: string[] = [];
    const toolbox = toolboxWith(async (key) => {
      calls.push(key);
      await gates.get(key)?.opened;
      return key;
    });
    const worker = await world.worker({ toolbox });
    const runId = await world.submit({
      input: script({ tool_calls: [call('a'), call('b')] }, { text: '{{tool_results}}' }),
      spec: { tools: ['http_request'] },
    });
    const working = begin(world, worker);
    await until('both run', () => calls.length === 2);
    worker.drain();
    gates.get('a')?.open();
    await until('one is done', async () => (await world.read(runId)).types.includes('tool.completed'));
    gates.get('b')?.open();
    await working;
    await assertHandedOver(world, runId);
    const run = await finishElsewhere(world, runId, { toolbox });
    assert.equal(run.output, 'a, b');
    assert.deepEqual(calls.toSorted(), ['a', 'b'], 'neither was called again (R6)');
  });

  test('gives back what it fetched and did not claim, and what it could not claim yet', async () => {
    const world = await openWorld();
    const worker = await world.worker();
    await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    const [activation] = world.pending;
    assert.ok(activation !== undefined);
    // Untrusted: the claim is tried again and again.
    await world.partition.redis.del(`${world.partition.root}:trust`);
    const waiting = worker.work(activation);
    worker.drain();
    assert.equal(await waiting, 'give_back');
    assert.equal(await worker.work(activation), 'give_back', 'one that was on its way');
    assert.equal(await world.field(activation.runId, 'claims'), '0');
  });
});

describe('the time to drain is over', { concurrency: true }, () => {
  test('a model call is cut off, settled at what was received, and made again elsewhere', async () => {
    const world = await openWorld();
    const turns = inTurn(
      {
        text: 'never to be read to its end',
        chunkDelayMs: 2000,
        usage: { input_tokens: 50, output_tokens: 10 },
      },
      { text: 'whole', usage: { input_tokens: 50, output_tokens: 10 } },
    );
    const provider = await fakeProvider(turns.behave);
    const worker = await world.worker({ provider });
    const runId = await world.submit({ spec: { model: HAIKU } });
    const working = begin(world, worker);
    await until('the call is open', () => turns.requests.length === 1);
    worker.drain();
    worker.cut();
    await working;
    const handed = await assertHandedOver(world, runId);
    const [failed] = handed.all('llm.failed');
    assert.deepEqual([failed?.code, failed?.decision, failed?.retry_at], ['worker_stopped', 'retry', null]);
    assert.ok((failed?.settlement?.observed_nano ?? 0) > 0, 'the input was paid for');
    assert.match(await worker.metrics.registry.render(), /^signalbox_duplicate_attempts_total 1$/m);
    assert.equal(handed.state.heldNano, 0);
    const day = new Date().toISOString().slice(0, 10);
    assert.equal((await world.money(`spend:tenant:${TENANT}:${day}`)).held, 0);
    const run = await finishElsewhere(world, runId, { provider });
    assert.deepEqual([run.state.status, run.output, run.broken], ['succeeded', 'whole', null]);
  });

  test('being cut off is no failure of the model: all its attempts are left', async () => {
    const world = await openWorld();
    const turns = inTurn(
      { text: 'slow', chunkDelayMs: 2000 },
      { status: 500 },
      { status: 500 },
      { text: 'at last' },
    );
    const provider = await fakeProvider(turns.behave);
    const worker = await world.worker({ provider });
    const runId = await world.submit({ spec: { model: HAIKU, fallbacks: [MINI] } });
    const working = begin(world, worker);
    await until('the call is open', () => turns.requests.length === 1);
    worker.drain();
    worker.cut();
    await working;
    const run = await finishElsewhere(world, runId, { provider });
    assert.equal(run.output, 'at last');
    assert.deepEqual([...new Set(run.all('llm.requested').map(({ model }) => model))], [HAIKU]);
  });

  const cutTool = async (repeatable: boolean) => {
    const world = await openWorld();
    const never = gate();
    const keys: string[] = [];
    const toolbox = toolboxWith(
      async (key, { idempotencyKey }) => {
        if (key === 'quick') return 'quick';
        keys.push(idempotencyKey);
        if (keys.length === 1) await never.opened;
        return 'slow';
      },
      { repeatable },
    );
    const worker = await world.worker({ toolbox });
    const runId = await world.submit({
      input: script({ tool_calls: [call('slow'), call('quick')] }, { text: '{{tool_results}}' }),
      spec: { tools: ['http_request'] },
    });
    const working = begin(world, worker);
    await until('the quick one is done', async () =>
      (await world.read(runId)).types.includes('tool.completed'),
    );
    worker.drain();
    worker.cut();
    await working;
    await assertHandedOver(world, runId);
    const run = await finishElsewhere(world, runId, { toolbox });
    never.open();
    return { run, runId, keys };
  };

  test('a tool that is safe to repeat is called again elsewhere, under the same key', async () => {
    const { run, runId, keys } = await cutTool(true);
    assert.deepEqual([run.state.status, run.output, run.broken], ['succeeded', 'slow, quick', null]);
    assert.deepEqual(keys, [`${runId}:2:slow`, `${runId}:2:slow`]);
  });

  test('another tool is not: the model is told that its effect is not known, and the run goes on', async () => {
    const { run, keys } = await cutTool(false);
    assert.equal(run.state.status, 'succeeded');
    assert.match(run.output ?? '', /it is not known whether it took effect/);
    assert.equal(run.all('tool.failed')[0]?.code, 'interrupted');
    assert.equal(keys.length, 1);
  });
});

describe('the order of a drain', () => {
  const draining = async (world: World, worker: TestWorker, drainMs: number) => {
    const did: string[] = [];
    const intake = new Intake({
      slots: 1,
      work: (activation) => worker.work(activation),
      waiting: () => Promise.resolve(0),
      clock: systemClock,
      limitMs: 60_000,
    });
    const cut = new AbortController();
    cut.signal.addEventListener('abort', () => {
      did.push('cut');
      worker.cut();
    });
    const step = (name: string) => async () => void did.push(name);
    const working = Promise.all(world.pending.splice(0).map((activation) => intake.take(activation)));
    const drain = () => {
      worker.drain();
      return drainWorker({
        consumer: { pause: step('no more fetched'), close: step('closed') },
        intake,
        leases: { drain: step('no more offered') },
        cut,
        clock: systemClock,
        logger: createLogger({ service: 'test', level: 'silent' }),
        drainMs,
      });
    };
    return { did, drain, working };
  };

  const inCall = async (endsAfterMs: number) => {
    const world = await openWorld();
    const worker = await world.worker();
    const runId = await world.submit({ input: script({ text: 'x', delay_ms: endsAfterMs }) });
    const { did, drain, working } = await draining(world, worker, 300);
    await until('the call is open', async () => (await world.read(runId)).types.includes('llm.requested'));
    await drain();
    await working;
    return { did, run: await world.read(runId) };
  };

  test('fetching stops first; what is open is cut off when its time is over; the queue is closed last', async () => {
    const { did, run } = await inCall(600_000);
    assert.deepEqual(did, ['no more fetched', 'no more offered', 'cut', 'closed']);
    assert.deepEqual(run.types.slice(-2), ['llm.failed', 'run.handed_over']);
  });

  test('what ends in time is not cut off', async () => {
    const { did, run } = await inCall(50);
    assert.deepEqual(did, ['no more fetched', 'no more offered', 'closed']);
    assert.equal(run.state.status, 'succeeded');
  });
});
