import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { fakeProvider, inTurn, MINI } from './fake.ts';
import { openWorld } from './harness.ts';
import { playAnswers } from './play-answers.ts';
import { toolboxWith } from './tools.ts';

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
    const { run } = await playAnswers(
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
});
