/** Tools that do what no tool should: the model gets an error result, and the run goes on. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { builtInTools } from '../src/tools/index.ts';
import { anyTool, createToolbox } from '../src/tools/toolbox.ts';
import { fakeProvider, HAIKU, inTurn } from './fake.ts';
import { openWorld, type RunSeen, script } from './harness.ts';
import { toolboxWith } from './tools.ts';

const asked = { name: 'http_request', arguments: { key: 'k' } };

const playTool = async (execute: () => unknown): Promise<RunSeen> => {
  const world = await openWorld();
  // A tool in JavaScript, or one that hands on what JSON.parse gave it.
  const toolbox = toolboxWith(async () => (await execute()) as string);
  const run = await world.play(await world.worker({ toolbox }), {
    input: script({ tool_calls: [asked] }, { text: 'done' }),
    spec: { tools: ['http_request'] },
  });
  assert.deepEqual([run.output, run.state.error, run.broken], ['done', null, null]);
  return run;
};

const resultOf = (run: RunSeen): { text: string; is_error: boolean } => {
  const [ended] = run.events.filter(({ type }) => type === 'tool.completed' || type === 'tool.failed');
  return run.result(ended?.refs['result'] ?? '');
};

const throwing = (thrown: unknown) => (): never => {
  throw thrown;
};

describe('a tool that throws', () => {
  const silent = 'The tool failed and did not say why.';
  const cases: readonly [name: string, thrown: unknown, text: string][] = [
    ['nothing', undefined, 'undefined'],
    ['a text', 'text', 'text'],
    ['a symbol', Symbol('s'), 'Symbol(s)'],
    ['what cannot be made a text', Object.create(null), 'something was thrown that cannot be shown'],
    [
      'an error whose message is none',
      Object.assign(new Error('x'), { message: { a: 1 } }),
      '[object Object]',
    ],
    ['an error without a message', new Error(' \n'), silent],
    ['the failures of several addresses', new AggregateError([new Error('refused')]), 'refused'],
    ['no failure of any address', new AggregateError([]), silent],
  ];
  for (const [name, thrown, text] of cases) {
    test(name, async () => {
      assert.deepEqual(resultOf(await playTool(throwing(thrown))), { text, is_error: true });
    });
  }
});

describe('a tool that answers with', () => {
  for (const result of [undefined, null, 42, 42n, Number.NaN, new Date(0), new Map(), { a: 1 }, ['a']]) {
    test(`${Object.prototype.toString.call(result)} in the place of text`, async () => {
      const { text, is_error } = resultOf(await playTool(() => result));
      assert.equal(is_error, true);
      assert.match(
        text,
        new RegExp(`http_request answered with no text but a value of type ${typeof result}`),
      );
    });
  }

  test('no text at all', async () => {
    assert.deepEqual(resultOf(await playTool(() => '')), { text: '', is_error: false });
  });

  test('more text than a model is given: it is told that it was cut', async () => {
    const { text } = resultOf(await playTool(() => `${'x'.repeat(99_999)}😀😀`));
    assert.equal(text, `${'x'.repeat(99_999)}\ufffd\n[cut off]`);
  });
});

describe('a schema that throws', () => {
  const schemas = {
    'in a transform': z.string().transform((text) => new URL(text).host),
    'in a check': z.string().refine(throwing(new Error('Invalid URL'))),
  };
  for (const [where, key] of Object.entries(schemas)) {
    test(where, async () => {
      const tool = anyTool({
        name: 'http_request',
        description: 'A tool of the test.',
        parameters: z.object({ key }),
        timeoutMs: 60_000,
        repeatable: () => false,
        execute: async (args) => args.key,
      });
      const world = await openWorld();
      const run = await world.play(await world.worker({ toolbox: createToolbox([tool]) }), {
        input: script({ tool_calls: [asked] }, { text: 'done' }),
        spec: { tools: ['http_request'] },
      });
      assert.equal(run.output, 'done');
      assert.deepEqual(resultOf(run), {
        text: 'Invalid arguments for http_request: Invalid URL',
        is_error: true,
      });
    });
  }
});

test('a tool that there is no more: the run says so before it asks a model, once and not as a lost worker', async () => {
  const world = await openWorld();
  const run = await world.play(await world.worker({ toolbox: createToolbox([]) }), {
    spec: { tools: ['calculator'] },
  });
  assert.deepEqual(run.types, ['run.submitted', 'run.claimed', 'run.failed']);
  assert.deepEqual(run.state.error, {
    code: 'tool_error',
    message:
      'The agent may use the tool calculator, which this version of Signalbox does not have. Publish the agent without it.',
    step: 1,
  });
});

test('an error without a word is one that a provider takes', async () => {
  const world = await openWorld();
  const toolCalls = [{ id: 'c', name: 'http_request', arguments: '{"key":"k"}' }];
  const provider = await fakeProvider(inTurn({ toolCalls }, { text: 'ok' }).behave);
  const toolbox = toolboxWith(throwing(new Error('')));
  const run = await world.play(await world.worker({ provider, toolbox }), {
    spec: { model: HAIKU, tools: ['http_request'] },
  });
  assert.deepEqual([run.output, run.state.error], ['ok', null]);
});

describe('a worker does not start with', () => {
  const base = {
    name: 'wait',
    description: 'A tool of the test.',
    parameters: z.object({}),
    timeoutMs: 1000,
    repeatable: () => true,
    execute: async () => '',
  } as const;

  test('two tools of one name', () => {
    assert.throws(() => createToolbox([anyTool(base), anyTool(base)]), /Two tools are named wait\./);
    assert.doesNotThrow(() => builtInTools({ allow: [] }));
  });

  test('a name that providers refuse', () => {
    for (const name of ['my tool', 'größe', 'a.b', '', 'x'.repeat(65)])
      assert.throws(() => anyTool({ ...base, name: name as 'wait' }), /cannot be named/);
  });

  test('parameters that are no object, or hold what JSON does not have', () => {
    for (const [parameters, why] of [
      [z.string(), 'they are no object'],
      [z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]), 'they are no object'],
      [z.object({ at: z.date() }), 'Date cannot be represented in JSON Schema'],
    ] as const) {
      const message = `The parameters of tool wait cannot be told to a model: ${why}. Make them a z.object of what JSON has.`;
      assert.throws(() => anyTool<unknown>({ ...base, parameters }), { message });
    }
  });
});
