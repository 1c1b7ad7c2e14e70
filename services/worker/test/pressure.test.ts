/** The audit backlog is over its limit while a run is at work (R9): it parks at its next step and goes on later. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { openWorld, script, type World } from './harness.ts';
import { gate, toolboxWith } from './tools.ts';

const COMMITS = 200;

/** Postgres is away: so much waits for it that nothing new may be done. */
const press = async ({ partition: { redis, root } }: World): Promise<void> => {
  const pipeline = redis.pipeline();
  for (let n = 0; n < COMMITS; n += 1) pipeline.xadd(`${root}:audit`, '*', 'r', 'run_of_another');
  pipeline.hset(`${root}:pressure`, 'backlog_limit', COMMITS / 1.6);
  await pipeline.exec();
};

const relieve = async (world: World): Promise<void> => {
  const { redis, root } = world.partition;
  await redis.hset(`${root}:pressure`, 'backlog_limit', 1_000_000);
  await world.repair();
};

const PARK = { reason: 'capacity', until: null, cause: 'audit_backlog' };

test('between a tool and the next call: the result is written, then it parks, and nothing is repeated', async () => {
  const world = await openWorld();
  const [started, finish] = [gate(), gate()];
  let calls = 0;
  const toolbox = toolboxWith(async () => {
    calls += 1;
    started.open();
    await finish.opened;
    return 'done';
  });
  const worker = await world.worker({ toolbox });
  const runId = await world.submit({
    input: script(
      { tool_calls: [{ name: 'http_request', arguments: { key: 'a' } }] },
      { text: 'the end: {{tool_results}}' },
    ),
    spec: { tools: ['http_request'] },
  });
  const working = world.settle(worker);
  await started.opened;
  await press(world);
  finish.open();
  await working;
  const parked = await world.read(runId);
  assert.deepEqual(parked.types.slice(-2), ['tool.completed', 'run.parked']);
  assert.deepEqual(parked.all('run.parked'), [PARK]);
  assert.deepEqual([parked.state.status, parked.state.waitingFor], ['waiting', 'capacity']);
  assert.equal((await world.money(`run:${runId}`)).held, 0);

  await relieve(world);
  await world.settle(worker);
  const run = await world.read(runId);
  assert.deepEqual([run.state.status, run.output], ['succeeded', 'the end: done']);
  assert.deepEqual([calls, run.all('llm.requested').length, run.broken], [1, 2, null]);
});

test('between a model and its tools: the answer is paid and written, the tools wait', async () => {
  const world = await openWorld();
  let calls = 0;
  const toolbox = toolboxWith(() => {
    calls += 1;
    return Promise.resolve('done');
  });
  const worker = await world.worker({ toolbox });
  const runId = await world.submit({
    input: script(
      { delay_ms: 500, tool_calls: [{ name: 'http_request', arguments: { key: 'a' } }] },
      { text: 'the end' },
    ),
    spec: { tools: ['http_request'] },
  });
  const working = world.settle(worker);
  await until('the call is open', async () => (await world.read(runId)).types.includes('llm.requested'));
  await press(world);
  await working;
  const parked = await world.read(runId);
  assert.deepEqual(parked.types.slice(-2), ['llm.completed', 'run.parked']);
  assert.equal(calls, 0);

  await relieve(world);
  await world.settle(worker);
  const run = await world.read(runId);
  assert.equal(run.state.status, 'succeeded');
  assert.deepEqual([calls, run.all('llm.requested').length], [1, 2]);
});
