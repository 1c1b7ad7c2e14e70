/** What a call that broke off may have been billed for, when not all that is billed is streamed (R1). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ModelError, type ModelRequest } from '@signalbox/contracts';
import { systemClock } from '@signalbox/runtime';
import { createModels } from '../registry.ts';

const requestTo = (model: string): ModelRequest => ({
  model,
  instructions: '',
  messages: [{ role: 'user', content: 'u' }],
  tools: [],
  maxOutputTokens: 32_000,
  temperature: null,
  outputSchema: null,
});

type Ending = 'abort' | 'break' | 'end';

/** Sends the events and no more; resolves with what the caller learns once all of them were read. */
const brokenOff = async (model: string, events: readonly object[], ending: Ending): Promise<ModelError> => {
  const stop = new AbortController();
  let sent = 0;
  const answerOf = (signal: AbortSignal): Response => {
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => signal.addEventListener('abort', () => controller.error(new Error('aborted'))),
        pull: (controller) => {
          const event = events[sent];
          sent += 1;
          if (event !== undefined) {
            controller.enqueue(new TextEncoder().encode(`event: e\ndata: ${JSON.stringify(event)}\n\n`));
            return;
          }
          // Asked for more, so what was sent has been read.
          if (ending === 'abort') stop.abort();
          else if (ending === 'break') controller.error(new Error('gone'));
          else controller.close();
        },
      },
      { highWaterMark: 0 },
    );
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
  };
  const models = createModels({
    clock: systemClock,
    fetch: (_, init) => Promise.resolve(answerOf(init?.signal ?? new AbortController().signal)),
    baseUrls: { 'oauth-gpt': 'http://127.0.0.1:9/v1' },
  });
  const key = { source: 'env', id: 'k', secret: 'sk-test-0123456789abcdefghij' } as const;
  const options = { key, signal: stop.signal, onDelta: () => undefined };
  const error: unknown = await models.call(requestTo(model), options).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof ModelError, String(error));
  return error;
};

const delta = (fields: object): object => ({ choices: [{ index: 0, delta: fields }] });
const TEXT = delta({ content: 'four' });
const START = {
  type: 'message_start',
  message: { id: 'm', content: [], usage: { input_tokens: 9, output_tokens: 1 } },
};
const block = (type: string): object => ({
  type: 'content_block_start',
  index: 0,
  content_block: { type, text: '', thinking: '', id: 't', name: 'calc' },
});
const CLAUDE_TEXT = {
  type: 'content_block_delta',
  index: 0,
  delta: { type: 'text_delta', text: 'four' },
};

const CASES: readonly [string, string, readonly object[], 'partial' | 'unknown', number?][] = [
  ['reasoning that openai hides', 'openai/gpt-5', [], 'unknown'],
  ['text after reasoning that openai hid', 'openai/gpt-5', [TEXT], 'unknown'],
  ['a model whose name says nothing', 'openai/some-new-model', [TEXT], 'unknown'],
  ['one that never reasons', 'openai/gpt-4o-mini', [TEXT], 'partial', 4],
  ['reasoning that gemini hides', 'gemini/gemini-3.8-flash', [TEXT], 'unknown'],
  ["another provider's model behind openrouter", 'openrouter/openai/gpt-4o-mini', [TEXT], 'unknown'],
  ['a bridge', 'oauth-gpt/gpt-5.6', [TEXT], 'unknown'],
  [
    'reasoning that groq streams',
    'groq/openai/gpt-oss-120b',
    [delta({ reasoning: 'é'.repeat(2500) })],
    'partial',
    5000,
  ],
  [
    'reasoning that deepseek streams',
    'deepseek/deepseek-v4-pro',
    [delta({ reasoning_content: 'abc' }), TEXT],
    'partial',
    7,
  ],
  ['claude before its first word', 'anthropic/claude-haiku-4-5', [START], 'partial', 0],
  ['claude in its text', 'anthropic/claude-haiku-4-5', [START, block('text'), CLAUDE_TEXT], 'partial', 4],
  ['claude in its thoughts', 'anthropic/claude-haiku-4-5', [START, block('thinking')], 'unknown'],
  [
    'claude after its thoughts',
    'anthropic/claude-haiku-4-5',
    [START, block('redacted_thinking'), block('text'), CLAUDE_TEXT],
    'unknown',
  ],
  ['a claude that may think unasked, before its first word', 'anthropic/claude-fable-5', [START], 'unknown'],
  ['the same, when it did not', 'anthropic/claude-fable-5', [START, block('tool_use')], 'partial', 4],
];

describe('a call that broke off', () => {
  for (const [name, model, events, billed, outputBytes] of CASES) {
    it(`${name}: ${billed === 'unknown' ? 'charged whole' : 'charged for what came'}`, async () => {
      for (const ending of ['abort', 'break', 'end'] as const) {
        const error = await brokenOff(model, events, ending);
        assert.deepEqual([error.billed, error.aborted], [billed, ending === 'abort'], ending);
        if (outputBytes !== undefined) assert.equal(error.outputBytes, outputBytes);
      }
    });
  }

  it('reasoning in a form of its own breaks no answer', async () => {
    const odd = delta({ reasoning: { text: 'x' }, content: 'four' });
    const error = await brokenOff('groq/llama-3.3-70b-versatile', [odd], 'end');
    assert.equal(error.outputBytes, 4);
  });
});
