/** What ends a run that money does not: repeating itself, steps, time, output and the context of its model. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Run } from '@signalbox/contracts';
import type { FakeReply } from '../support/fake-provider/index.ts';
import { settled, startSystem, taggedAgent, violations } from './stack.ts';

/** By tag; without one the conversation's script is played. */
const REPLIES: Readonly<Record<string, FakeReply>> = {
  context: { status: 400, text: 'prompt is too long: 212345 tokens > 200000 maximum' },
  slow: { text: 'slow... '.repeat(1000), chunkDelayMs: 100 },
};

const tagOf = (instructions: string): string => /#tag (\S+)/.exec(instructions)?.[1] ?? '';

const system = await startSystem({
  workers: 1,
  provider: { behave: ({ instructions }) => REPLIES[tagOf(instructions)] },
});
after(() => system.stop());

const requests = (tag: string): { messages: { role: string }[]; max_tokens: number }[] =>
  system.provider.ledger
    .map(({ body }) => body as { system: string; messages: { role: string }[]; max_tokens: number })
    .filter((body) => JSON.stringify(body).includes(`#tag ${tag}`));

const ids: string[] = [];

const play = async (tag: string, turns: readonly object[], limits: object = {}): Promise<Run> => {
  const agent = taggedAgent(tag, { tools: ['calculator', 'wait'] });
  const { id } = await system.api.submit({ agent, input: JSON.stringify({ turns }), limits });
  ids.push(id);
  return system.api.end(id, 20_000);
};

const calculate = (expression: string): object => ({
  tool_calls: [{ name: 'calculator', arguments: { expression } }],
});
const SAME = calculate('6 * 7');

test('a model that repeats a call is told once, and stopped when it goes on', async () => {
  const run = await play('loop', [SAME, SAME, SAME, SAME, SAME, { text: 'never' }]);
  assert.deepEqual([run.status, run.error?.code, run.error?.step], ['failed', 'loop_detected', 8]);
  const told = requests('loop').map(({ messages }) => /several times/.test(JSON.stringify(messages.at(-1))));
  assert.deepEqual(told, [false, false, false, true]);
  const events = await system.api.events(run.id);
  const tripped = events.findIndex(({ type }) => type === 'guardrail.tripped');
  assert.deepEqual(events[tripped]?.data, { name: 'loop', step: 6 });
  const next = events[tripped + 1];
  assert.deepEqual([next?.type, next?.data['step'], next?.data['nudge']], ['llm.requested', 7, 'loop']);
  assert.equal(events.filter(({ type }) => type === 'guardrail.tripped').length, 1);
});

test('a model that heeds the warning goes on', async () => {
  const run = await play('heeds', [SAME, SAME, SAME, calculate('1 + 1'), SAME, { text: 'done' }]);
  assert.deepEqual([run.status, run.output, run.steps], ['succeeded', 'done', 11]);
});

test('the same call three times in one answer counts too', async () => {
  const call = { name: 'calculator', arguments: { expression: '6 * 7' } };
  const run = await play('parallel', [{ tool_calls: [call, call, call] }, SAME, { text: 'never' }]);
  assert.equal(run.error?.code, 'loop_detected');
});

test('max_steps: what does not fit does not start', async () => {
  const turns = [calculate('1 + 1'), calculate('1 + 2'), { text: 'never' }];
  const run = await play('steps', turns, { max_steps: 3 });
  assert.deepEqual([run.status, run.error?.code, run.steps], ['failed', 'max_steps', 3]);
});

test('max_output_tokens is sent with every call', async () => {
  await play('output', [calculate('1 + 1'), { text: 'done' }], { max_output_tokens: 300 });
  assert.deepEqual(
    requests('output').map((body) => body.max_tokens),
    [300, 300],
  );
});

test('timeout_seconds ends a run in the middle of a call, which is paid for', async () => {
  const run = await play('slow', [], { timeout_seconds: 1 });
  assert.deepEqual([run.status, run.error?.code], ['failed', 'timeout']);
  assert.ok(run.cost.observed_usd > 0);
  const active = Date.parse(run.finished_at ?? '') - Date.parse(run.started_at ?? '');
  assert.ok(active >= 1000 && active < 3000, `${active} ms`);
});

test('parked time does not count towards timeout_seconds', async () => {
  const wait = { tool_calls: [{ name: 'wait', arguments: { seconds: 2 } }] };
  const run = await play('parked', [wait, { text: 'done' }], { timeout_seconds: 1 });
  assert.deepEqual([run.status, run.error], ['succeeded', null]);
  assert.ok(Date.parse(run.finished_at ?? '') - Date.parse(run.started_at ?? '') >= 2000);
});

test('a conversation that is too long for the model fails with its own code and costs nothing', async () => {
  const run = await play('context', []);
  assert.deepEqual([run.status, run.error?.code, run.cost.observed_usd], ['failed', 'context_too_long', 0]);
  assert.match(run.error?.message ?? '', /too long/);
  assert.equal(requests('context').length, 1);
});

test('all books agree', async () => {
  await settled(system, ids);
  assert.deepEqual(await violations(system), []);
});
