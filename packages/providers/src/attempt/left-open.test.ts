/** A provider that has said all, and neither ends its answer nor closes the connection. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ModelAnswer } from '@signalbox/contracts';
import { type Clock, systemClock } from '@signalbox/runtime';
import { ATTEMPT_LIMIT_MS, createModels } from '../registry.ts';

/** Short pauses are over at once, the attempt's own limit is not. */
const hurried: Clock = {
  ...systemClock,
  sleep: (ms, signal) =>
    ms < ATTEMPT_LIMIT_MS
      ? systemClock.sleep(0, signal)
      : new Promise((_, reject) => signal?.addEventListener('abort', () => reject(new Error('over')))),
};

const answerOf = async (model: string, events: readonly object[]): Promise<ModelAnswer> => {
  const models = createModels({
    clock: hurried,
    fetch: (_, init) => {
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          init?.signal?.addEventListener('abort', () => controller.error(init.signal?.reason));
          for (const event of events) {
            const text = `event: ${'type' in event ? String(event.type) : 'message'}\ndata: ${JSON.stringify(event)}\n\n`;
            controller.enqueue(new TextEncoder().encode(text));
          }
        },
      });
      return Promise.resolve(new Response(body, { headers: { 'content-type': 'text/event-stream' } }));
    },
  });
  const request = {
    model,
    instructions: '',
    messages: [{ role: 'user', content: 'u' }],
    tools: [],
    maxOutputTokens: 100,
    temperature: null,
    outputSchema: null,
  } as const;
  const key = { source: 'env', id: 'k', secret: 'sk-test-0123456789abcdefghij' } as const;
  return models.call(request, { key, signal: new AbortController().signal, onDelta: () => undefined });
};

const USAGE = { input_tokens: 10, output_tokens: 5, cache_read_tokens: 0, cache_write_tokens: 0 };

const ANTHROPIC = [
  { type: 'message_start', message: { id: 'msg_1', usage: { input_tokens: 10, output_tokens: 1 } } },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: 'all' } },
  { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 5 } },
  { type: 'message_stop' },
];

const OPENAI = [
  { choices: [{ delta: { content: 'all' }, finish_reason: 'stop' }] },
  { choices: [], usage: { prompt_tokens: 10, completion_tokens: 5 } },
];

for (const [model, events] of [
  ['anthropic/claude-haiku-4-5', ANTHROPIC],
  ['openai/gpt-4o-mini', OPENAI],
  ['openrouter/openai/gpt-4o-mini', OPENAI],
] as const) {
  it(`${model}: is not waited for until the attempt's limit, and what it said is the answer`, async () => {
    const answer = await answerOf(model, events);
    assert.deepEqual([answer.text, answer.finishReason, answer.usage], ['all', 'stop', USAGE]);
  });
}
