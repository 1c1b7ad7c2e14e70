/** Providers that fail and models that answer badly: what is tried again, what the run ends with. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fakeProvider, HAIKU, inTurn, MINI, type Answer } from './fake.ts';
import { openWorld, script, type SubmitOptions, until } from './harness.ts';
import { LeapClock } from './leap-clock.ts';
import { toolboxWith } from './tools.ts';

const play = async (
  answers: readonly Answer[],
  { clock = new LeapClock(), ...options }: SubmitOptions & { clock?: LeapClock } = {},
) => {
  const world = await openWorld();
  const turns = inTurn(...answers);
  const worker = await world.worker({ provider: await fakeProvider(turns.behave), clock });
  const run = await world.play(worker, { ...options, spec: { model: HAIKU, ...options.spec } });
  return { world, worker, run, clock, requests: turns.requests };
};

const down = { status: 500, text: 'down for a moment' };
const overloaded = { status: 529, text: 'Overloaded' };
const limited = { status: 429, text: 'slow down' };

describe('a provider that fails', () => {
  test('is asked again after a pause, three times in all', async () => {
    const { run, requests, clock } = await play([limited, down, { text: 'at last' }]);
    assert.equal(run.output, 'at last');
    assert.equal(requests.length, 3);
    assert.deepEqual(
      run.all('llm.failed').map(({ http_status, code, decision }) => [http_status, code, decision]),
      [
        [429, 'provider_error', 'retry'],
        [500, 'provider_error', 'retry'],
      ],
    );
    const [first, second] = clock.slept.filter((ms) => ms > 100);
    assert.ok(first !== undefined && first > 200 && first <= 500, `${first}`);
    assert.ok(second !== undefined && second > 400 && second <= 1000, `${second}`);
    // A refusal for too many requests is free; an error after the provider took the call may not be.
    const [free, charged] = run.all('llm.failed').map(({ settlement }) => settlement);
    assert.deepEqual([free?.observed_nano, free?.estimated], [0, false]);
    assert.equal(charged?.observed_nano, run.all('llm.requested')[1]?.hold?.amount_nano);
    assert.equal(new Set(run.all('llm.requested').map(({ hold }) => hold?.id)).size, 3);
    assert.equal(run.state.steps.length, 1);
  });

  test('gives way to the fallback, with its own price', async () => {
    const { run, requests } = await play([down, down, down, { text: 'plan b' }], {
      spec: { fallbacks: [MINI] },
    });
    assert.equal(run.output, 'plan b');
    assert.deepEqual(
      requests.map(({ model }) => model),
      [...Array(3).fill('claude-haiku-4-5'), 'gpt-4o-mini'],
    );
    assert.equal(run.all('llm.failed')[2]?.decision, 'fallback');
    assert.deepEqual(
      run.all('llm.requested').map(({ attempt }) => attempt),
      [1, 2, 3, 4],
    );
  });

  test('for want of room charges nothing, so the cap still holds the fallback', async () => {
    const answers = [overloaded, { ...overloaded, status: 503 }, overloaded, { text: 'plan b' }];
    const { run } = await play(answers, { capNano: 8_000_000, spec: { fallbacks: [MINI] } });
    assert.deepEqual([run.output, run.state.error], ['plan b', null]);
    assert.deepEqual(
      run.all('llm.failed').map(({ settlement }) => settlement?.observed_nano),
      [0, 0, 0],
    );
    assert.equal(run.state.estimated, false);
  });

  test('and whose fallback fails as well ends the run', async () => {
    const { run, requests } = await play([down], { spec: { fallbacks: [MINI] } });
    assert.deepEqual([run.state.error?.code, run.state.error?.step], ['provider_error', 1]);
    assert.match(run.state.error?.message ?? '', /down for a moment/);
    assert.equal(requests.length, 6);
    assert.equal(run.state.heldNano, 0);
  });

  test('and quotes what it was sent: its message goes into events without it (R13)', async () => {
    const said = 'Ada is ill, and nobody knows where she lives';
    const refused = { status: 400, text: `content '${said}' is not allowed, see 12.3 of the terms` };
    const { run } = await play([refused], { input: said });
    assert.match(
      run.state.error?.message ?? '',
      /HTTP 400\): content '\[CONTENT\]' is not allowed, see 12\.3 of the terms$/,
    );
    assert.ok(!JSON.stringify(run.events).includes('Ada'));
  });

  test('and refuses our key is not asked again', async () => {
    const { run, requests } = await play([{ status: 401, text: 'invalid x-api-key' }]);
    assert.equal(run.state.error?.code, 'provider_auth');
    assert.equal(requests.length, 1);
    assert.equal(run.state.observedNano, 0);
  });

  test('and says when to come back is believed: the run parks meanwhile', async () => {
    const { run, world, worker, clock } = await play([
      { ...limited, headers: { 'retry-after': '120' } },
      { text: 'rested' },
    ]);
    assert.deepEqual([run.state.status, run.state.waitingFor], ['waiting', 'timer']);
    const retryAt = Date.parse(run.all('llm.failed')[0]?.retry_at ?? '');
    assert.ok(Math.abs(retryAt - clock.now() - 120_000) < 5000);
    clock.leap(121_000);
    await world.due(run.state.runId);
    await world.settle(worker);
    assert.equal((await world.read(run.state.runId)).output, 'rested');
  });

  test('and is away for long gives way to the fallback at once', async () => {
    const { run, requests } = await play(
      [{ ...limited, headers: { 'retry-after': '120' } }, { text: 'plan b' }],
      { spec: { fallbacks: [MINI] } },
    );
    assert.deepEqual([run.output, requests.length, run.all('run.parked').length], ['plan b', 2, 0]);
  });

  test('is called again when the store says it is time, though the clock of the worker is behind', async () => {
    const behind = new LeapClock();
    // So the store finds it due in 5.5 s, just long enough to park.
    behind.leap(-114_500);
    const { run, world, worker } = await play(
      [{ ...limited, headers: { 'retry-after': '120' } }, { text: 'rested' }],
      { clock: behind },
    );
    await until('the timer is due', async () => {
      await world.repair();
      return world.pending.length > 0;
    });
    await world.settle(worker);
    const after = await world.read(run.state.runId);
    assert.deepEqual([after.output, after.all('run.parked').length], ['rested', 1]);
  });

  test('and asks for an absurd pause gets an hour', async () => {
    for (const pause of ['99999999', '9'.repeat(30)]) {
      const { run, clock } = await play([{ ...limited, headers: { 'retry-after': pause } }]);
      assert.equal(run.state.waitingFor, 'timer');
      const retryAt = Date.parse(run.all('llm.failed')[0]?.retry_at ?? '');
      assert.ok(retryAt <= clock.now() + 3_600_000);
    }
  });

  test('and cannot be reached is free to be asked again', async () => {
    const world = await openWorld();
    const provider = await fakeProvider();
    await provider.stop();
    const run = await world.play(await world.worker({ provider, clock: new LeapClock() }), {
      spec: { model: HAIKU },
    });
    assert.equal(run.state.error?.code, 'provider_error');
    assert.equal(run.state.observedNano, 0);
    assert.equal(run.all('llm.requested').length, 3);
  });
});

describe('a model that answers badly', () => {
  const empty = { text: '  ' };
  const cut = { text: 'and then', finishReason: 'length' } as const;

  test('with nothing: it is told, and may do better', async () => {
    const { run, requests } = await play([empty, { text: 'sorry' }]);
    assert.equal(run.output, 'sorry');
    assert.equal(run.all('llm.requested')[1]?.nudge, 'empty');
    assert.match(requests[1]?.messages.at(-1)?.content ?? '', /empty/);
  });

  test('cut off at the limit: it is told, with what it said before', async () => {
    const { run, requests } = await play([cut, { text: 'short' }]);
    assert.equal(run.output, 'short');
    assert.equal(run.all('llm.requested')[1]?.nudge, 'truncated');
    assert.deepEqual(
      requests[1]?.messages.map(({ role }) => role),
      ['user', 'assistant', 'user'],
    );
  });

  test('without end: no conversation grows past what any model reads', async () => {
    const world = await openWorld();
    const turns = Array.from({ length: 12 }, (_, n) => ({
      text: 'more ',
      text_length: 1_000_000,
      tool_calls: [{ name: 'calculator', arguments: { expression: `${n}` } }],
      usage: null,
    }));
    const run = await world.play(await world.worker(), {
      input: script(...turns),
      spec: { tools: ['calculator'] },
      limits: { max_steps: 1000 },
    });
    assert.equal(run.state.error?.code, 'context_too_long');
    assert.equal(run.all('llm.completed').length, 10);
  });

  test('three times in a row: the run ends', async () => {
    for (const bad of [empty, cut, { text: '{"n": "x"}' }]) {
      const { run, requests } = await play([bad], {
        spec: { output_schema: { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } },
      });
      assert.equal(run.state.error?.code, 'invalid_output');
      assert.equal(requests.length, 3);
    }
  });

  test('against the schema: it is told until it follows it', async () => {
    const { run } = await play([{ text: 'no json' }, { text: '{"n": true}' }, { text: '{"n": 4}' }], {
      spec: { output_schema: { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } },
    });
    assert.equal(run.output, '{"n": 4}');
    assert.deepEqual(
      run.all('llm.completed').map(({ output_valid }) => output_valid),
      [false, false, true],
    );
  });

  test('against a schema that takes for ever to check: the run ends, and its worker lives on', async () => {
    const endless = JSON.stringify(`${'a'.repeat(40)}!`);
    const { run, requests, world, worker } = await play([{ text: endless }], {
      spec: { output_schema: { type: 'string', pattern: '^(a+)+$' } },
    });
    assert.equal(run.state.error?.code, 'invalid_output');
    assert.equal(requests.length, 3);
    const other = await world.play(worker, {
      spec: { model: 'mock/echo', output_schema: { type: 'string' } },
      input: '"fine"',
    });
    assert.equal(other.state.status, 'succeeded');
  });

  test('or refuses: the run ends', async () => {
    const { run, requests } = await play([{ text: 'I will not', finishReason: 'refusal' }]);
    assert.equal(run.state.error?.code, 'invalid_output');
    assert.match(run.state.error?.message ?? '', /refused/);
    assert.equal(requests.length, 1);
  });

  test('with more calls than the run may make, under ids that collide: it ends, and says so in few words', async () => {
    const ids = [...Array.from({ length: 300 }, (_, n) => `a_${n + 300}`), ...Array(300).fill('a')];
    const toolCalls = ids.map((id: string) => ({ id, name: 'calculator', arguments: '{}' }));
    const { run } = await play([{ toolCalls }], {
      spec: { tools: ['calculator'] },
      limits: { max_steps: 400 },
    });
    assert.equal(run.state.error?.code, 'max_steps');
    const calls = run.all('llm.completed')[0]?.tool_calls ?? [];
    assert.equal(new Set(calls.map(({ call_id }) => call_id)).size, 401);
  });

  test('with the same id for two calls: both are made, and each gets its own result', async () => {
    const call = (expression: string) => ({
      id: 'same',
      name: 'calculator',
      arguments: JSON.stringify({ expression }),
    });
    const { run, requests } = await play([{ toolCalls: [call('1'), call('2')] }, { text: 'ok' }], {
      spec: { model: MINI, tools: ['calculator'] },
    });
    assert.equal(run.output, 'ok');
    assert.deepEqual(
      requests[1]?.messages.flatMap((message) => (message.role === 'tool' ? [message.content] : [])),
      ['1', '2'],
    );
  });
});

describe('text that no database takes', () => {
  const NASTY = 'a\u0000b\ud83dc';

  test('in answers, tool names, call ids and results: the journal holds none of it, the run goes on', async () => {
    const world = await openWorld();
    const turns = inTurn(
      {
        text: NASTY,
        toolCalls: [
          { id: `id${NASTY}`, name: `${'n'.repeat(63)}\ud83d\ude00${NASTY}`, arguments: '{}' },
          { id: `id ${NASTY}`, name: 'http_request', arguments: JSON.stringify({ key: NASTY }) },
        ],
      },
      { text: `end ${NASTY}` },
    );
    const keys: string[] = [];
    const toolbox = toolboxWith(async (key, { idempotencyKey }) => {
      keys.push(idempotencyKey);
      return `${key} and ${NASTY}`;
    });
    const provider = await fakeProvider(turns.behave);
    const run = await world.play(await world.worker({ provider, toolbox }), {
      spec: { model: MINI, tools: ['http_request'] },
    });
    assert.equal(run.state.status, 'succeeded');
    assert.equal(run.broken, null);
    for (const event of run.events) {
      const body = JSON.stringify(event);
      assert.doesNotMatch(body, /\\u0000|\\ud83d/, event.type);
    }
    assert.equal(run.all('tool.failed')[0]?.code, 'unknown_tool');
    assert.match(keys[0] ?? '', /^[\w:.-]+$/);
    const result = run.events.find(({ type }) => type === 'tool.completed')?.refs['result'] ?? '';
    assert.equal(run.result(result).text, run.result(result).text.toWellFormed());
    await until('the second request came', () => turns.requests.length === 2);
  });

  test('a tool that the model made up and ids that hold a secret stay out of the events (R13)', async () => {
    const [made, key] = ['find_ada_at_home', `sk-ant-api03-${'k'.repeat(40)}`];
    const { run } = await play(
      [
        {
          toolCalls: [{ id: key, name: made, arguments: '{}' }],
          headers: { 'request-id': key, 'x-request-id': key },
        },
        { text: 'ok' },
      ],
      { spec: { tools: ['http_request'] } },
    );
    assert.equal(run.output, 'ok');
    assert.deepEqual(
      run.all('llm.completed')[0]?.tool_calls.map(({ call_id, name }) => [call_id, name]),
      [['_REDACTED_', 'unknown']],
    );
    assert.equal(run.all('llm.completed')[0]?.provider_request_id, '[REDACTED]');
    const events = JSON.stringify(run.events);
    for (const text of [made, key]) assert.ok(!events.includes(text), text);
  });

  test('a result cut at its longest is not cut inside a character', async () => {
    const world = await openWorld();
    const toolbox = toolboxWith(async () => `${'x'.repeat(99_999)}\ud83d\ude00 and more`);
    const turns = inTurn(
      { toolCalls: [{ id: 'c', name: 'http_request', arguments: '{"key":"k"}' }] },
      { text: 'ok' },
    );
    const run = await world.play(
      await world.worker({ provider: await fakeProvider(turns.behave), toolbox }),
      {
        spec: { model: MINI, tools: ['http_request'] },
      },
    );
    const result = run.events.find(({ type }) => type === 'tool.completed')?.refs['result'] ?? '';
    assert.equal(run.result(result).text.length, 100_000);
    assert.ok(run.result(result).text.isWellFormed());
  });
});
