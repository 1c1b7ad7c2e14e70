/** Models that answer badly: what they are told, what the run ends with. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MINI } from './fake.ts';
import { openWorld, script } from './harness.ts';
import { playAnswers } from './play-answers.ts';

describe('a model that answers badly', () => {
  const empty = { text: '  ' };
  const cut = { text: 'and then', finishReason: 'length' } as const;

  test('with nothing: it is told, and may do better', async () => {
    const { run, requests } = await playAnswers([empty, { text: 'sorry' }]);
    assert.equal(run.output, 'sorry');
    assert.equal(run.all('llm.requested')[1]?.nudge, 'empty');
    assert.match(requests[1]?.messages.at(-1)?.content ?? '', /empty/);
  });

  test('cut off at the limit: it is told, with what it said before', async () => {
    const { run, requests } = await playAnswers([cut, { text: 'short' }]);
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
      const { run, requests } = await playAnswers([bad], {
        spec: { output_schema: { type: 'object', properties: { n: { type: 'number' } }, required: ['n'] } },
      });
      assert.equal(run.state.error?.code, 'invalid_output');
      assert.equal(requests.length, 3);
    }
  });

  test('against the schema: it is told until it follows it', async () => {
    const { run } = await playAnswers([{ text: 'no json' }, { text: '{"n": true}' }, { text: '{"n": 4}' }], {
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
    const { run, requests, world, worker } = await playAnswers([{ text: endless }], {
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
    const { run, requests } = await playAnswers([{ text: 'I will not', finishReason: 'refusal' }]);
    assert.equal(run.state.error?.code, 'invalid_output');
    assert.match(run.state.error?.message ?? '', /refused/);
    assert.equal(requests.length, 1);
  });

  test('with more calls than the run may make, under ids that collide: it ends, and says so in few words', async () => {
    const ids = [...Array.from({ length: 300 }, (_, n) => `a_${n + 300}`), ...Array(300).fill('a')];
    const toolCalls = ids.map((id: string) => ({ id, name: 'calculator', arguments: '{}' }));
    const { run } = await playAnswers([{ toolCalls }], {
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
    const { run, requests } = await playAnswers([{ toolCalls: [call('1'), call('2')] }, { text: 'ok' }], {
      spec: { model: MINI, tools: ['calculator'] },
    });
    assert.equal(run.output, 'ok');
    assert.deepEqual(
      requests[1]?.messages.flatMap((message) => (message.role === 'tool' ? [message.content] : [])),
      ['1', '2'],
    );
  });
});
