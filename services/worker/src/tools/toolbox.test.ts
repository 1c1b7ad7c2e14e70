import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ManualClock } from '@signalbox/runtime';
import { builtInTools } from './index.ts';
import { ToolError } from './tool.ts';

const clock = new ManualClock(Date.UTC(2026, 2, 1, 12));
const context = { signal: new AbortController().signal, idempotencyKey: 'run:1:c', clock };
const toolbox = builtInTools({ allow: [] });
const allowed = ['calculator', 'current_time', 'wait'];
const plan = (name: string, args: string, truncated = false) =>
  toolbox.plan({ name, arguments: args }, { allowed, truncated, nowMs: clock.now() });

const refusal = async (run: Promise<string>): Promise<ToolError> => {
  try {
    await run;
  } catch (error) {
    if (error instanceof ToolError) return error;
    throw error;
  }
  throw new Error('it was not refused');
};

describe('toolbox', () => {
  test('a tool that the agent may not use is unknown, as is one that does not exist', async () => {
    for (const name of ['http_request', 'nope', 'constructor', '__proto__', '']) {
      const planned = plan(name, '{}');
      assert.deepEqual([planned.repeatable, planned.dueAt], [true, null]);
      const error = await refusal(planned.run(context));
      assert.equal(error.code, 'unknown_tool');
      assert.match(error.message, /calculator, current_time, wait/);
    }
  });

  test('arguments that are no JSON, or not what the tool wants, are told to the model', async () => {
    const bad = [
      '{',
      'nonsense',
      '[]',
      '"x"',
      'null',
      '{}',
      '{"expression": 7}',
      '{"expression":"1","more":1}',
    ];
    for (const text of bad) {
      const error = await refusal(plan('calculator', text).run(context));
      assert.equal(error.code, 'invalid_arguments', text);
      assert.match(error.message, /calculator/);
    }
    const error = await refusal(plan('calculator', '{"expression": 7}').run(context));
    assert.match(error.message, /expression/);
  });

  test('a call inside an answer that was cut off is not made', async () => {
    const error = await refusal(plan('calculator', '{"expression":"1+1"}', true).run(context));
    assert.deepEqual([error.code, /cut off/.test(error.message)], ['invalid_arguments', true]);
  });

  test('no arguments at all are an empty object', async () => {
    assert.match(await plan('current_time', '').run(context), /^2026-03-01T12:00:00\.000Z /);
  });

  test('the definitions are JSON Schema objects of the tools that were asked for', () => {
    const definitions = toolbox.definitions(['wait', 'calculator', 'nope']);
    assert.deepEqual(
      definitions.map(({ name, parameters }) => [
        name,
        parameters['type'],
        Object.keys(parameters['properties'] ?? {}),
      ]),
      [
        ['wait', 'object', ['seconds']],
        ['calculator', 'object', ['expression']],
      ],
    );
    const [http] = toolbox.definitions(['http_request']);
    assert.deepEqual(http?.parameters['required'], ['url']);
  });
});

describe('current_time', () => {
  test('tells the time of a zone', async () => {
    const told = await plan('current_time', '{"timezone":"Asia/Tokyo"}').run(context);
    assert.match(told, /^2026-03-01T12:00:00\.000Z \(Sunday, March 1, 2026 at 9:00:00/);
  });

  test('an unknown zone is told to the model', async () => {
    const error = await refusal(plan('current_time', '{"timezone":"Mars/Base"}').run(context));
    assert.equal(error.code, 'invalid_arguments');
  });
});

describe('wait', () => {
  test('is due later and needs no run', () => {
    const planned = plan('wait', '{"seconds": 1.5}');
    assert.deepEqual([planned.dueAt, planned.repeatable], [clock.now() + 1500, true]);
  });

  test('refuses a time that is none', async () => {
    for (const seconds of ['-1', '1e999', '2592001', '"1"', 'null']) {
      const planned = plan('wait', `{"seconds": ${seconds}}`);
      assert.equal(planned.dueAt, null);
      assert.equal((await refusal(planned.run(context))).code, 'invalid_arguments', seconds);
    }
  });
});
