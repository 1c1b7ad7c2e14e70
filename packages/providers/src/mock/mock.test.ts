import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Message, ModelAnswer, ModelRequest } from '@signalbox/contracts';
import { ManualClock } from '@signalbox/runtime';
import { assertLinear } from '../../../engine/test/linear-time.ts';
import { piecesOf } from './mock.ts';
import { createModels } from '../registry.ts';

const clock = new ManualClock();
const models = createModels({ clock });

const requestOf = (model: string, messages: readonly Message[], instructions = ''): ModelRequest => ({
  model,
  instructions,
  messages,
  tools: [],
  maxOutputTokens: 100,
  temperature: null,
  outputSchema: null,
});
const user = (content: string): Message => ({ role: 'user', content });
const play = (request: ModelRequest, signal = new AbortController().signal): Promise<ModelAnswer> =>
  models.call(request, { key: null, signal, onDelta: () => undefined });
const scripted = (turns: readonly object[], messages: readonly Message[] = []): ModelRequest =>
  requestOf('mock/script', [user(JSON.stringify({ turns })), ...messages]);

describe('mock/echo', () => {
  it('answers with the last user text and counts a token per four bytes', async () => {
    const answer = await play(requestOf('mock/echo', [user('first'), user('héllo')]));
    assert.equal(answer.text, 'héllo');
    assert.deepEqual(answer.usage, {
      input_tokens: 3,
      output_tokens: 2,
      cache_read_tokens: 0,
      cache_write_tokens: 0,
    });
  });

  it('however long the answer, it counts no more than the call may have', async () => {
    const long = 'x'.repeat(1000);
    const [echo, script] = [requestOf('mock/echo', [user(long)]), scripted([{ text: long }])];
    for (const request of [echo, script]) {
      const { text, usage } = await play(request);
      assert.deepEqual([text, usage?.output_tokens], [long, request.maxOutputTokens]);
    }
    const told = await play(scripted([{ text: long, usage: { output_tokens: 250 } }]));
    assert.equal(told.usage?.output_tokens, 250, 'a script may say what it likes');
  });

  it('an empty input is an empty answer of one token', async () => {
    const answer = await play(requestOf('mock/echo', [user('')]));
    assert.deepEqual([answer.text, answer.usage?.output_tokens], ['', 1]);
  });
});

describe('mock/script', () => {
  const turns = [
    {
      tool_calls: [
        { name: 'calculator', arguments: { expression: '1' } },
        { id: 'own', name: 'wait', arguments: 'not json' },
      ],
    },
    { text: 'got {{tool_results}}', usage: { output_tokens: 99 } },
  ];
  const called: readonly Message[] = [
    { role: 'assistant', content: '', toolCalls: [] },
    { role: 'tool', callId: 'call_1_1', content: '$&1', isError: false },
    { role: 'tool', callId: 'own', content: 'b', isError: true },
  ];

  it('repeats its text up to a length', async () => {
    const answer = await play(scripted([{ text: 'got {{tool_results}} ', text_length: 12 }], called));
    assert.equal(answer.text, 'got $&1, b g');
  });

  it('makes no answer that is longer than one may be, however often results stand in it', async () => {
    const result: Message = {
      role: 'tool',
      callId: 'call_1_1',
      content: 'x'.repeat(100_000),
      isError: false,
    };
    const twelve = scripted([{ text: '{{tool_results}}'.repeat(12) }], [...called.slice(0, 1), result]);
    await assert.rejects(play(twelve), {
      code: 'provider_error',
      retryable: false,
      message: /1000000 characters/,
    });
    const nine = scripted([{ text: '{{tool_results}}'.repeat(9) }], [...called.slice(0, 1), result]);
    assert.equal((await play(nine)).text.length, 900_000);
  });

  it('is cut into words in time that grows with its text, whatever that is', () => {
    for (const unit of [' ', 'a', ' a', 'a '])
      assertLinear(unit, (text) => piecesOf({ text, chunkDelayMs: 1 }).join(''));
    assert.deepEqual(piecesOf({ text: ' one  two\n', chunkDelayMs: 1 }), [' ', 'one  ', 'two\n']);
  });

  it('plays the turn after as many assistant messages, and the last one for ever', async () => {
    const first = await play(scripted(turns));
    assert.deepEqual(first.toolCalls, [
      { id: 'call_1_1', name: 'calculator', arguments: '{"expression":"1"}' },
      { id: 'own', name: 'wait', arguments: 'not json' },
    ]);
    assert.equal(first.finishReason, 'tool_calls');
    const second = await play(scripted(turns, called));
    assert.equal(second.text, 'got $&1, b');
    assert.equal(second.usage?.output_tokens, 99);
    const third = await play(
      scripted(turns, [...called, { role: 'assistant', content: 'x', toolCalls: [] }]),
    );
    assert.equal(third.text, 'got ');
  });

  it('is deterministic, so that a replay meets the same answers', async () => {
    assert.deepEqual(await play(scripted(turns, called)), await play(scripted(turns, called)));
  });

  it('is found in the instructions when the input holds none', async () => {
    const request = requestOf(
      'mock/script',
      [user('{"x": 1}')],
      JSON.stringify({ turns: [{ text: 'ok', usage: null }] }),
    );
    const answer = await play(request);
    assert.deepEqual([answer.text, answer.usage], ['ok', null]);
  });

  it('a missing or broken script says what is wrong', async () => {
    await assert.rejects(play(requestOf('mock/script', [user('hi')])), {
      code: 'provider_error',
      retryable: false,
      billed: 'none',
      message: /no script/,
    });
    await assert.rejects(play(scripted([{ txt: 1 }])), {
      retryable: false,
      billed: 'none',
      message: /not valid.*txt/s,
    });
    await assert.rejects(play(requestOf('mock/nope', [user('hi')])), {
      message: /mock\/echo or mock\/script/,
    });
  });

  it('fails as a provider would', async () => {
    await assert.rejects(play(scripted([{ error: { status: 529, message: 'busy' } }])), {
      code: 'provider_error',
      retryable: true,
      httpStatus: 529,
      billed: 'none',
    });
    await assert.rejects(play(scripted([{ error: { status: 500, message: 'x', retryable: false } }])), {
      retryable: false,
    });
    await assert.rejects(play(scripted([{ error: { status: 401, message: 'x' } }])), {
      code: 'provider_auth',
      billed: 'none',
    });
  });

  it('waits by the clock, word by word, and an abort ends the wait', async () => {
    const stop = new AbortController();
    const heard: string[] = [];
    const call = models.call(scripted([{ text: 'one two three', delay_ms: 60_000, chunk_delay_ms: 1000 }]), {
      key: null,
      signal: stop.signal,
      onDelta: (text) => heard.push(text),
    });
    const failed = assert.rejects(call, { aborted: true, billed: 'partial', outputBytes: 8 });
    await clock.whenSleeping();
    await clock.advance(59_999);
    assert.deepEqual(heard, []);
    await clock.advance(1001);
    assert.deepEqual(heard, ['one ', 'two ']);
    stop.abort();
    await failed;
    assert.equal(clock.sleeping, 0);
  });
});

describe('createModels', () => {
  it('names the variable of a missing key or address', async () => {
    const missing = { code: 'provider_auth', retryable: false, billed: 'none' };
    await assert.rejects(play(requestOf('groq/x', [])), {
      ...missing,
      message: /groq: PUT .*, or set GROQ_API_KEY/,
    });
    await assert.rejects(play(requestOf('oauth-gpt/x', [])), {
      ...missing,
      message: /set OAUTH_GPT_BRIDGE_URL/,
    });
    await assert.rejects(play(requestOf('acme/x', [])), { code: 'provider_error', retryable: false });
  });
});
