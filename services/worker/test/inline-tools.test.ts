/** Tools without effect: one write for the answer, its calls and what follows; nothing else of the journal is another. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { requestAbort } from '@signalbox/run-state';
import { openWorld, script, TENANT, type World } from './harness.ts';
import { gate, toolboxWith } from './tools.ts';

const sum = (expression: string) => ({ name: 'calculator', arguments: { expression } });

/** The types of the events of each write, as the audit stream has them. */
const writes = async ({ partition }: World): Promise<string[][]> => {
  const entries = await partition.redis.xrange(`${partition.root}:audit`, '-', '+');
  return entries.map(([, fields]) =>
    fields.flatMap((name, i) => {
      const entry = fields[i + 1] ?? '';
      return i % 2 === 0 && name === 'e' ? [(JSON.parse(entry.slice(64)) as { type: string }).type] : [];
    }),
  );
};

describe('an answer that asks for nothing but sums and the time', () => {
  test('is one write with its calls, their results and the announcement of what follows', async () => {
    const world = await openWorld();
    const run = await world.play(await world.worker(), {
      input: script(
        { tool_calls: [sum('6 * 7'), { name: 'current_time', arguments: {} }, sum('1 / 0')] },
        { tool_calls: [{ name: 'nothing_like_that', arguments: {} }] },
        { text: 'done' },
      ),
      spec: { tools: ['calculator', 'current_time'] },
    });
    assert.deepEqual([run.state.status, run.broken], ['succeeded', null]);
    assert.deepEqual(await writes(world), [
      ['run.submitted'],
      ['run.claimed', 'llm.requested'],
      [
        'llm.completed',
        'tool.requested',
        'tool.requested',
        'tool.requested',
        'tool.completed',
        'tool.completed',
        'tool.failed',
        'llm.requested',
      ],
      ['llm.completed', 'tool.requested', 'tool.failed', 'llm.requested'],
      ['llm.completed', 'run.succeeded'],
    ]);
  });

  test('as many as a run may have', async () => {
    const world = await openWorld();
    const calls = Array.from({ length: 998 }, (_, n) => sum(`${n} + 1`));
    const run = await world.play(await world.worker(), {
      input: script({ tool_calls: calls }, { text: 'done' }),
      spec: { tools: ['calculator'] },
      limits: { max_steps: 1000 },
    });
    assert.deepEqual(
      [run.state.status, run.broken, run.all('tool.completed').length],
      ['succeeded', null, 998],
    );
  });

  test('of a run that was asked to stop meanwhile: what was done is written, nothing follows', async () => {
    const world = await openWorld();
    const runId = await world.submit({
      input: script({ tool_calls: [sum('1 + 1')], delay_ms: 500 }, { text: 'never' }),
      spec: { tools: ['calculator'] },
    });
    const working = world.settle(await world.worker());
    await until('the call is announced', async () =>
      (await world.read(runId)).types.includes('llm.requested'),
    );
    // The worker is not told: it learns of it from the store.
    const flag = { requested_at: new Date().toISOString(), by: 'key_1', reason: null };
    await requestAbort(world.partition, { runId, tenantId: TENANT, flag });
    await working;
    const { types } = await world.read(runId);
    assert.deepEqual(types.slice(2), [
      'llm.requested',
      'llm.completed',
      'tool.requested',
      'tool.completed',
      'run.abort_requested',
      'run.aborted',
    ]);
  });
});

test('beside a call that has an effect all are announced before any is made (R3), each result as it arrives', async () => {
  const world = await openWorld();
  const held = gate();
  let before: string[][] = [];
  const toolbox = toolboxWith(async () => {
    before = await writes(world);
    held.open();
    return 'sent';
  });
  const run = await world.play(await world.worker({ toolbox }), {
    input: script(
      { tool_calls: [{ name: 'http_request', arguments: { key: 'a' } }, sum('1 + 1')] },
      { text: 'done' },
    ),
    spec: { tools: ['http_request', 'calculator'] },
  });
  assert.equal(run.state.status, 'succeeded');
  assert.deepEqual(before.at(2), ['llm.completed', 'tool.requested', 'tool.requested']);
});
