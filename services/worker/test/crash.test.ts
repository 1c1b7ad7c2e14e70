/** Workers that die, freeze or break in the middle of a run (R3, R4, R6). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { toUsd } from '@signalbox/contracts';
import type { WorkerMetrics } from '../src/metrics.ts';
import { fakeProvider, HAIKU, inTurn } from './fake.ts';
import { openWorld, script } from './harness.ts';
import { charged, tenantDay } from './spend.ts';
import { gate, toolboxWith } from './tools.ts';

/** Short enough that what a dead worker still tries is over soon. */
const MORTAL = { leaseMs: 3000 };

const costCounted = async ({ registry }: WorkerMetrics): Promise<number> =>
  Number(/^signalbox_cost_usd_total\{.*\} (.*)$/m.exec(await registry.render())?.[1] ?? 0);

const toolCall = (id: string) => ({
  toolCalls: [{ id, name: 'calculator', arguments: '{"expression":"1+1"}' }],
});

describe('a worker dies during a model call', { concurrency: true }, () => {
  test('what was completed is not called again; what was open is charged whole and called again', async () => {
    const world = await openWorld();
    const never = gate();
    const turns = inTurn(
      toolCall('c1'),
      async () => {
        await never.opened;
        return { text: 'from the grave' };
      },
      { text: 'done', usage: { input_tokens: 50, output_tokens: 10 } },
    );
    const provider = await fakeProvider(turns.behave);
    const first = await world.worker({ ...MORTAL, provider });
    const runId = await world.submit({ spec: { model: HAIKU, tools: ['calculator'] } });
    const lost = world.settle(first);
    await until('the second call is open', () => turns.requests.length === 2);
    first.die();
    await world.expire(first.leaseId);

    const second = await world.worker({ provider });
    await world.settle(second);
    const run = await world.read(runId);
    assert.equal(run.state.status, 'succeeded');
    assert.equal(run.output, 'done');
    assert.equal(run.broken, null);
    assert.equal(turns.requests.length, 3, 'the first call was not made again');
    assert.deepEqual(turns.requests[2]?.messages, turns.requests[1]?.messages);
    const [, , again] = run.all('llm.requested');
    assert.deepEqual([again?.step, again?.attempt], [3, 2]);
    const [expired] = run.all('cost.expired');
    const uncertain = run.all('llm.requested')[1]?.hold;
    assert.deepEqual(expired?.settlement, {
      hold_id: uncertain?.id,
      observed_nano: uncertain?.amount_nano,
      estimated: true,
    });
    assert.deepEqual(
      run.all('run.claimed').map(({ resumed }) => resumed),
      [false, true],
    );
    assert.deepEqual(await tenantDay(world), { spent: charged(run), held: 0 });
    assert.deepEqual([run.state.observedNano, run.state.heldNano], [charged(run), 0]);
    never.open();
    await lost;
    assert.equal((await world.read(runId)).state.seq, run.state.seq);
  });

  test('three workers lost at the same step: the run is ended, and nothing stays held', async () => {
    const world = await openWorld();
    const never = gate();
    const turns = inTurn(async () => {
      await never.opened;
      return {};
    });
    const provider = await fakeProvider(turns.behave);
    const runId = await world.submit({ spec: { model: HAIKU } });
    const lost: Promise<void>[] = [];
    for (let n = 1; n <= 3; n += 1) {
      const worker = await world.worker({ ...MORTAL, provider });
      lost.push(world.settle(worker));
      await until(`call ${n} is open`, () => turns.requests.length === n);
      worker.die();
      await world.expire(worker.leaseId);
    }
    await world.settle(await world.worker({ provider }));
    const run = await world.read(runId);
    assert.deepEqual([run.state.status, run.state.error?.code], ['failed', 'poison_step']);
    assert.equal(turns.requests.length, 3);
    assert.equal(run.all('cost.expired').length, 3);
    assert.deepEqual(await tenantDay(world), { spent: charged(run), held: 0 });
    assert.ok(charged(run) > 0);
    assert.equal(run.broken, null);
    never.open();
    await Promise.all(lost);
  });

  test('a free call that was lost is made again as well', async () => {
    const world = await openWorld();
    const first = await world.worker(MORTAL);
    const runId = await world.submit({ input: script({ text: 'hi', delay_ms: 3_000 }) });
    const lost = world.settle(first);
    await until('the call is announced', async () =>
      (await world.read(runId)).types.includes('llm.requested'),
    );
    first.die();
    await world.expire(first.leaseId);
    await world.settle(await world.worker());
    const run = await world.read(runId);
    assert.deepEqual([run.state.status, run.output], ['succeeded', 'hi']);
    assert.equal(run.all('llm.failed')[0]?.code, 'worker_lost');
    await lost;
  });
});

describe('a worker dies while a tool runs', { concurrency: true }, () => {
  const play = async (repeatable: boolean) => {
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
    const first = await world.worker({ ...MORTAL, toolbox });
    const call = (key: string) => ({ id: key, name: 'http_request', arguments: { key } });
    const runId = await world.submit({
      input: script({ tool_calls: [call('slow'), call('quick')] }, { text: '{{tool_results}}' }),
      spec: { tools: ['http_request'] },
    });
    const lost = world.settle(first);
    await until('the quick one is done', async () =>
      (await world.read(runId)).types.includes('tool.completed'),
    );
    first.die();
    await world.expire(first.leaseId);
    await world.settle(await world.worker({ toolbox }));
    never.open();
    await lost;
    return { run: await world.read(runId), keys, runId };
  };

  test('safe to repeat: it is called again with the same key, and the other one is not', async () => {
    const { run, keys, runId } = await play(true);
    assert.equal(run.output, 'slow, quick');
    assert.deepEqual(keys, [`${runId}:2:slow`, `${runId}:2:slow`]);
    assert.equal(run.all('tool.requested').length, 3);
    assert.equal(run.all('llm.requested').length, 2);
    assert.equal(run.broken, null);
  });

  test('not safe to repeat: the run fails and says which tool', async () => {
    const { run, keys } = await play(false);
    assert.deepEqual([run.state.error?.code, run.state.error?.step], ['uncertain_effect', 2]);
    assert.match(run.state.error?.message ?? '', /http_request/);
    assert.equal(keys.length, 1);
  });
});

describe('a worker that was thought dead', () => {
  test('writes nothing any more, however far it got', async () => {
    const world = await openWorld();
    const thaw = gate();
    const turns = inTurn(
      async () => {
        await thaw.opened;
        return { text: 'zombie' };
      },
      { text: 'heir' },
    );
    const provider = await fakeProvider(turns.behave);
    const zombie = await world.worker({ provider });
    const runId = await world.submit({ spec: { model: HAIKU } });
    const frozen = world.settle(zombie);
    await until('its call is open', () => turns.requests.length === 1);
    await world.expire(zombie.leaseId);
    const heir = await world.worker({ provider });
    await world.settle(heir);
    const before = await world.read(runId);
    const books = await tenantDay(world);
    assert.equal(before.output, 'heir');

    thaw.open();
    await frozen;
    const after = await world.read(runId);
    assert.deepEqual(after.types, before.types);
    assert.equal(after.state.hash, before.state.hash);
    assert.deepEqual(await tenantDay(world), books);
    assert.equal(await world.field(runId, 'status'), 'succeeded');
    assert.match(await zombie.metrics.registry.render(), /signalbox_fenced_writes_total 1/);
    const counted = await Promise.all([zombie, heir].map(({ metrics }) => costCounted(metrics)));
    assert.deepEqual(counted, [0, toUsd(books.spent)], 'what a call cost is counted once');
  });
});

describe('drain', () => {
  test('hands the run over at its next step, and another worker finishes it', async () => {
    const world = await openWorld();
    const [started, go] = [gate(), gate()];
    const toolbox = toolboxWith(async () => {
      started.open();
      await go.opened;
      return 'kept';
    });
    const leaving = await world.worker({ toolbox });
    const runId = await world.submit({
      input: script(
        { tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['http_request'] },
    });
    const [activation] = world.pending.splice(0);
    const working = leaving.work(activation ?? { runId: '', wakeSeq: 0 });
    await started.opened;
    leaving.drain();
    go.open();
    await working;
    const handed = await world.read(runId);
    assert.deepEqual(handed.types.slice(-2), ['tool.completed', 'run.handed_over']);
    assert.equal(world.pending.length, 1);
    await world.settle(await world.worker({ toolbox }));
    const run = await world.read(runId);
    assert.equal(run.output, 'kept');
    assert.equal(run.all('tool.requested').length, 1);
    assert.equal(run.all('run.claimed').length, 2);
  });
});
