/** Gemini signs its tool calls and refuses a conversation without the signatures, whoever goes on with the run. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { Run, ToolCall } from '@signalbox/contracts';
import type { Behave } from '../support/fake-provider/index.ts';
import { startSystem } from './stack.ts';

const GEMINI = 'gemini/gemini-3.8-flash';
const MINI = 'openai/gpt-4o-mini';

const signature = (n: number): string =>
  JSON.stringify({ google: { thought_signature: `signed+${n}/${'x'.repeat(3000)}==` } });

const call = (id: string, name: string, args: object): ToolCall => ({
  id,
  name,
  arguments: JSON.stringify(args),
});

/** Of calls side by side, the first one is signed. */
const TURNS: readonly (readonly ToolCall[])[] = [
  [
    { ...call('a', 'calculator', { expression: '1 + 1' }), extra_content: signature(1) },
    call('b', 'calculator', { expression: '2 + 2' }),
  ],
  [{ ...call('c', 'wait', { seconds: 1 }), extra_content: signature(2) }],
];

/** As strict as the real ones: Gemini wants its signatures back, nobody else knows the field. */
const behave: Behave = ({ model, messages }) => {
  const turns = messages.flatMap((message) => (message.role === 'assistant' ? [message.toolCalls] : []));
  const signed = model.startsWith('gemini');
  if (signed && turns.some(([first]) => first !== undefined && first.extra_content === undefined))
    return { status: 400, text: 'Function call is missing a thought_signature in functionCall parts.' };
  if (!signed && turns.flat().some(({ extra_content }) => extra_content !== undefined))
    return { status: 400, text: "Unknown parameter: 'messages[1].tool_calls[0].extra_content'." };
  const toolCalls = TURNS[turns.length];
  if (toolCalls === undefined) return { text: 'Done.' };
  return { toolCalls: signed ? toolCalls : toolCalls.map(({ extra_content: _, ...plain }) => plain) };
};

const system = await startSystem({
  workers: 1,
  provider: { behave },
  env: { GEMINI_API_KEY: 'key-of-the-fake' },
});
after(() => system.stop());
const { api, provider } = system;

const play = async (model: string): Promise<Run> => {
  const { id } = await api.submit({
    agent: { model, tools: ['calculator', 'wait'] },
    input: 'Go.',
    user_id: 'u1',
  });
  return api.end(id);
};

const fork = async (id: string, body: object): Promise<Run> => {
  const { status, json } = await api.request(`/v1/runs/${id}/fork`, { body });
  assert.equal(status, 202, JSON.stringify(json));
  return api.end(String(json['id']));
};

const replaysIdentical = async ({ id }: Run): Promise<void> => {
  const { json } = await api.request(`/v1/runs/${id}/replay`, { method: 'POST' });
  assert.deepEqual([json['identical'], json['divergences']], [true, []]);
};

/** What the last request carried with the tool calls it told of. */
const sentBack = (): unknown[] => {
  const last = provider.ledger.at(-1);
  assert.ok(last);
  const { messages } = last.body as {
    messages: readonly { tool_calls?: readonly { extra_content?: unknown }[] }[];
  };
  return messages.flatMap(({ tool_calls = [] }) => tool_calls.map(({ extra_content }) => extra_content));
};

const assertEnded = (run: Run): void =>
  assert.deepEqual([run.status, run.error, run.output], ['succeeded', null, 'Done.']);

const origin = await play(GEMINI);

test('signatures go back as they came, also when the run was parked between, and it replays identical', async () => {
  assertEnded(origin);
  assert.deepEqual(sentBack(), [JSON.parse(signature(1)), undefined, JSON.parse(signature(2))]);
  await replaysIdentical(origin);
});

test('a fork takes them along', async () => {
  const run = await fork(origin.id, { from_step: 6 });
  assertEnded(run);
  assert.deepEqual(sentBack(), [JSON.parse(signature(1)), undefined, JSON.parse(signature(2))]);
  await replaysIdentical(run);
});

test('another provider is not sent them', async () => {
  const run = await fork(origin.id, { from_step: 6, changes: { model: MINI } });
  assertEnded(run);
  await replaysIdentical(run);
});

test('calls that another model made are told of as such, and Gemini goes on from there', async () => {
  const run = await fork((await play(MINI)).id, { from_step: 6, changes: { model: GEMINI } });
  assertEnded(run);
  const unsigned = { google: { thought_signature: 'skip_thought_signature_validator' } };
  assert.deepEqual(sentBack(), [unsigned, undefined, unsigned]);
  await replaysIdentical(run);
});
