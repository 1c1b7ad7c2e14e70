/** One worker, healthy providers and tools: what a run does and what it leaves in its journal. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { openWorld, script } from './harness.ts';
import { LeapClock } from './leap-clock.ts';
import { gate, toolboxWith } from './tools.ts';

describe('the loop', () => {
  test('three model calls and two tool calls, in one chain, with everything sealed and readable', async () => {
    const world = await openWorld();
    const worker = await world.worker();
    const run = await world.play(worker, {
      input: script(
        {
          tool_calls: [{ name: 'calculator', arguments: { expression: '6 * 7' } }],
          usage: { input_tokens: 100, output_tokens: 7 },
        },
        { text: 'and now', tool_calls: [{ name: 'calculator', arguments: { expression: '1 / 0' } }] },
        { text: 'the end: {{tool_results}}', usage: { input_tokens: 300, output_tokens: 9 } },
      ),
      spec: { tools: ['calculator'] },
    });
    assert.deepEqual(run.types, [
      'run.submitted',
      'run.claimed',
      'llm.requested',
      'llm.completed',
      'tool.requested',
      'tool.completed',
      'llm.requested',
      'llm.completed',
      'tool.requested',
      'tool.failed',
      'llm.requested',
      'llm.completed',
      'run.succeeded',
    ]);
    assert.equal(run.broken, null);
    assert.equal(run.state.status, 'succeeded');
    assert.match(run.output ?? '', /^the end: The result is not a finite number/);
    assert.equal(run.state.steps.length, 5);
    const refs = run.events.flatMap(({ refs }) => Object.values(refs));
    assert.equal(new Set(refs).size, 7);
    const [first] = run.state.steps;
    assert.equal(
      first?.kind === 'llm' ? run.answer(first.outputRef ?? '').tool_calls[0]?.arguments : '',
      '{"expression":"6 * 7"}',
    );
    const [digest, ...others] = run.all('llm.requested').map(({ request_digest }) => request_digest);
    assert.equal(new Set([digest, ...others]).size, 3);
    assert.ok(run.state.usage.input_tokens > 400 && run.state.usage.output_tokens > 16);
    assert.equal(await world.field(run.state.runId, 'status'), 'succeeded');
    assert.equal(await world.field(run.state.runId, 'owner'), null);
    const metrics = await worker.metrics.registry.render();
    assert.match(metrics, /signalbox_runs_finished_total\{[^}]*status="succeeded"[^}]*\} 1/);
    assert.match(metrics, /signalbox_llm_tokens_total\{[^}]*direction="input"[^}]*\} \d{3}/);
  });

  test('the journal says who asked, which code and model answered, on what and at which price', async () => {
    const world = await openWorld();
    const run = await world.play(await world.worker(), {
      input: script(
        { tool_calls: [{ name: 'calculator', arguments: { expression: '6 * 7' } }] },
        { text: 'done', usage: { input_tokens: 300, output_tokens: 9 } },
      ),
      spec: { tools: ['calculator'] },
    });
    const digest = /^[0-9a-f]{64}$/;
    const [submitted] = run.all('run.submitted');
    assert.equal(run.events[0]?.actor.id, 'key_1');
    assert.match(submitted?.spec_digest ?? '', digest, 'which prompt');
    assert.deepEqual(
      run.all('run.claimed').map(({ build, worker }) => [build, worker !== '']),
      [['test', true]],
    );
    const completed = run.all('llm.completed');
    for (const [i, asked] of run.all('llm.requested').entries()) {
      assert.match(asked.request_digest, digest);
      assert.deepEqual([asked.model, asked.tools], ['mock/script', ['calculator']]);
      assert.ok(asked.max_output_tokens > 0 && asked.temperature !== undefined);
      const answer = completed[i];
      assert.ok(answer !== undefined && answer.model_served !== '');
      assert.equal(answer.settlement?.hold_id, asked.hold?.id);
      assert.ok(asked.hold === null || asked.hold.price_version !== '');
    }
    assert.match(completed[0]?.tool_calls[0]?.args_digest ?? '', digest);
    assert.match(run.all('tool.completed')[0]?.result_digest ?? '', digest);
    for (const { type, refs } of run.events) {
      if (type === 'llm.completed' || type === 'tool.completed') {
        assert.match(Object.values(refs)[0] ?? '', /^sha256:[0-9a-f]{64}$/, type);
      }
    }
  });

  test('tools of one answer run side by side; the model gets their results in the order of its calls', async () => {
    const world = await openWorld();
    const gates = { a: gate(), b: gate() };
    const order: string[] = [];
    const toolbox = toolboxWith(async (key) => {
      if (key === 'a') await gates.a.opened;
      else gates.b.open();
      order.push(key);
      return `result of ${key}`;
    });
    const worker = await world.worker({ toolbox });
    const runId = await world.submit({
      input: script(
        {
          tool_calls: [
            { id: 'one', name: 'http_request', arguments: { key: 'a' } },
            { id: 'two', name: 'http_request', arguments: { key: 'b' } },
          ],
        },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['http_request'] },
    });
    const settled = world.settle(worker);
    await gates.b.opened;
    gates.a.open();
    await settled;
    const run = await world.read(runId);
    assert.deepEqual(order, ['b', 'a']);
    assert.deepEqual(
      run.all('tool.completed').map(({ call_id, step }) => [call_id, step]),
      [
        ['two', 3],
        ['one', 2],
      ],
    );
    assert.equal(run.output, 'result of a, result of b');
    assert.equal(run.broken, null);
  });

  test('a wait parks the run on a timer, holds no slot, and ends when it is due', async () => {
    const world = await openWorld();
    const clock = new LeapClock();
    const worker = await world.worker({ clock });
    const runId = await world.submit({
      input: script(
        {
          tool_calls: [
            { name: 'wait', arguments: { seconds: 30 } },
            { name: 'calculator', arguments: { expression: '2' } },
            { name: 'wait', arguments: { seconds: 60 } },
          ],
        },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['wait', 'calculator'] },
    });
    await world.settle(worker);
    const parked = await world.read(runId);
    assert.deepEqual([parked.state.status, parked.state.waitingFor], ['waiting', 'timer']);
    assert.equal(parked.state.openTools, 2);
    assert.equal(await world.field(runId, 'owner'), null);
    assert.equal(worker.runs.active, 0);
    await world.repair();
    assert.equal(world.pending.length, 0, 'not due yet');

    for (const [seconds, status] of [
      [30, 'waiting'],
      [30, 'succeeded'],
    ] as const) {
      clock.leap(seconds * 1000);
      await world.due(runId);
      await world.settle(worker);
      assert.equal((await world.read(runId)).state.status, status);
    }
    const run = await world.read(runId);
    assert.equal(run.output, 'The wait is over., 2, The wait is over.');
    assert.deepEqual(
      run.all('run.woken').map(({ reason }) => reason),
      ['timer', 'timer'],
    );
    assert.ok(run.state.activeMs < 30_000, 'parked time is not active time');
    assert.equal(run.broken, null);
  });

  test('a wait is over when the store says so, though the clock of the worker is a minute behind', async () => {
    const world = await openWorld();
    const clock = new LeapClock();
    clock.leap(-60_000);
    const worker = await world.worker({ clock });
    const runId = await world.submit({
      input: script({ tool_calls: [{ name: 'wait', arguments: { seconds: 61 } }] }, { text: 'done' }),
      spec: { tools: ['wait'] },
    });
    await world.settle(worker);
    await until('the timer is due', async () => {
      await world.repair();
      return world.pending.length > 0;
    });
    await world.settle(worker);
    const run = await world.read(runId);
    assert.deepEqual([run.state.status, run.all('run.parked').length], ['succeeded', 1]);
  });

  test('a model that calls tools wrongly is told and the run goes on', async () => {
    const world = await openWorld();
    const worker = await world.worker();
    const run = await world.play(worker, {
      input: script(
        {
          tool_calls: [
            { id: 'c1', name: 'nope' },
            { id: 'c2', name: 'calculator', arguments: '{"expression":' },
            { id: 'c3', name: 'calculator', arguments: { formula: '1' } },
            { id: 'c4', name: 'http_request', arguments: { url: 'http://127.0.0.1/' } },
          ],
        },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['calculator', { name: 'http_request', repeatable: true }] },
    });
    assert.equal(run.state.status, 'succeeded');
    const codes = Object.fromEntries(run.all('tool.failed').map(({ call_id, code }) => [call_id, code]));
    assert.deepEqual(codes, {
      c1: 'unknown_tool',
      c2: 'invalid_arguments',
      c3: 'invalid_arguments',
      c4: 'tool_error',
    });
    for (const told of [/no tool with this name/, /not JSON/, /expression/, /allowed hosts/])
      assert.match(run.output ?? '', told);
  });

  test('an answer cut off inside a call: the call is not made', async () => {
    const world = await openWorld();
    const run = await world.play(await world.worker(), {
      input: script(
        { tool_calls: [{ name: 'calculator', arguments: '{"expression":"1+1"}' }], finish_reason: 'length' },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['calculator'] },
    });
    assert.match(run.output ?? '', /cut off/);
  });

  test('the same call ids in one answer are kept apart', async () => {
    const world = await openWorld();
    const call = (id: string, expression: string) => ({ id, name: 'calculator', arguments: { expression } });
    const run = await world.play(await world.worker(), {
      input: script(
        { tool_calls: [call('x_1', '1'), call('x', '2'), call('x', '3'), call('x', '4')] },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['calculator'] },
    });
    assert.equal(run.output, '1, 2, 3, 4');
    assert.equal(new Set(run.all('tool.requested').map(({ call_id }) => call_id)).size, 4);
  });
});

describe('limits', () => {
  test('max_steps counts model and tool calls', async () => {
    const world = await openWorld();
    const run = await world.play(await world.worker(), {
      input: script({ tool_calls: [{ name: 'calculator', arguments: { expression: '1' } }] }),
      spec: { tools: ['calculator'] },
      limits: { max_steps: 4 },
    });
    assert.deepEqual([run.state.error?.code, run.state.steps.length], ['max_steps', 4]);
  });

  test('the time limit ends a call that is open', async () => {
    const world = await openWorld();
    const run = await world.play(await world.worker(), {
      input: script({ text: 'late', delay_ms: 60_000 }),
      limits: { timeout_seconds: 1 },
    });
    assert.equal(run.state.error?.code, 'timeout');
    assert.match(run.state.error?.message ?? '', /timeout_seconds/);
    assert.ok(run.state.activeMs >= 1000 && run.state.activeMs < 30_000);
  });

  test('the time limit ends a tool that is open, and no further call is made', async () => {
    const world = await openWorld();
    const stopped = gate();
    const toolbox = toolboxWith((_, { signal }) => {
      signal.addEventListener('abort', () => stopped.open());
      return new Promise(() => undefined);
    });
    const run = await world.play(await world.worker({ toolbox }), {
      input: script({ tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] }, { text: 'x' }),
      spec: { tools: ['http_request'] },
      limits: { timeout_seconds: 1 },
    });
    await stopped.opened;
    assert.equal(run.state.error?.code, 'timeout');
    assert.equal(run.all('tool.failed')[0]?.code, 'timeout');
    assert.equal(run.all('llm.requested').length, 1);
  });
});
