import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Message, ModelAnswer, ModelRequest } from '@signalbox/contracts';
import { AnswerBuilder } from './answer-builder.ts';
import { DIALECTS, type DialectName } from './dialects.ts';
import { toCompletionsBody } from './openai-request.ts';
import { createCompletionsReader } from './openai-wire.ts';

const request: ModelRequest = {
  model: 'x/y',
  instructions: 'i',
  messages: [{ role: 'user', content: 'u' }],
  tools: [],
  maxOutputTokens: 7,
  temperature: 0.5,
  outputSchema: { type: 'object' },
};

const read = (provider: DialectName, ...chunks: readonly unknown[]): ModelAnswer => {
  const answer = new AnswerBuilder(() => undefined, false);
  const reader = createCompletionsReader(DIALECTS[provider]);
  for (const chunk of chunks) reader.onEvent(chunk, answer);
  return answer.answer('y');
};

describe('dialects', () => {
  it('a request carries the allowed fields and no other', () => {
    for (const [provider, dialect] of Object.entries(DIALECTS)) {
      const body = toCompletionsBody(request, 'y', dialect);
      const allowed: readonly string[] = dialect.fields;
      assert.deepEqual(
        Object.keys(body).filter((field) => !allowed.includes(field)),
        [],
        provider,
      );
      const limits = [body.max_tokens, body.max_completion_tokens].filter((limit) => limit !== undefined);
      assert.deepEqual(limits, [7], `${provider}: one explicit limit`);
    }
  });

  it('the tier is fixed for openai only, and mistral gets none of what it refuses', () => {
    assert.equal(toCompletionsBody(request, 'y', DIALECTS.openai).service_tier, 'default');
    const mistral = Object.keys(toCompletionsBody(request, 'y', DIALECTS.mistral)).toSorted();
    assert.deepEqual(mistral, ['max_tokens', 'messages', 'model', 'stream', 'temperature']);
  });

  it('deepseek is told not to think, and nobody else is told anything of it', () => {
    for (const [provider, dialect] of Object.entries(DIALECTS)) {
      const { thinking } = toCompletionsBody(request, 'y', dialect);
      assert.deepEqual(thinking, provider === 'deepseek' ? { type: 'disabled' } : undefined, provider);
    }
  });

  it('openai models that reason and take no tools then are told not to reason, where there are tools', () => {
    const tools = [{ name: 'f', description: 'd', parameters: {} }];
    const effort = (provider: DialectName, model: string, offered = tools): unknown =>
      toCompletionsBody({ ...request, tools: offered }, model, DIALECTS[provider]).reasoning_effort;
    for (const model of ['gpt-5.4', 'gpt-5.4-mini-2026-03-17', 'gpt-5.6', 'gpt-5.6-terra', 'gpt-6-astra'])
      assert.deepEqual([effort('openai', model), effort('openai', model, [])], ['none', undefined], model);
    for (const model of ['gpt-4o-mini', 'gpt-5', 'gpt-5-mini', 'gpt-5.1', 'o4-mini', 'gpt-5.4-pro', 'y'])
      assert.equal(effort('openai', model), undefined, model);
    assert.equal(effort('openrouter', 'openai/gpt-5.6'), undefined);
    assert.equal(effort('oauth-gpt', 'gpt-5.6'), undefined);
  });

  it('the output schema is part of the instructions', () => {
    const [system] = toCompletionsBody(request, 'y', DIALECTS.groq).messages;
    assert.ok(typeof system?.content === 'string');
    assert.match(system.content, /^i\n\n.*JSON Schema.*\n\{"type":"object"\}$/s);
  });
});

describe('usage', () => {
  const usage = (provider: DialectName, wire: unknown): unknown =>
    read(provider, { choices: [], usage: wire }).usage;
  const expected = { input_tokens: 10, output_tokens: 5, cache_read_tokens: 0, cache_write_tokens: 0 };

  it('gemini leaves reasoning out of completion_tokens, but not out of the total', () => {
    assert.deepEqual(usage('gemini', { prompt_tokens: 10, completion_tokens: 5, total_tokens: 40 }), {
      ...expected,
      output_tokens: 30,
    });
    assert.deepEqual(usage('gemini', { prompt_tokens: 10, total_tokens: 15 }), expected);
    assert.deepEqual(
      usage('openai', { prompt_tokens: 10, completion_tokens: 5, total_tokens: 40 }),
      expected,
    );
  });

  it('a missing count is unknown, not zero', () => {
    assert.equal(usage('openai', { prompt_tokens: 10 }), null);
    assert.equal(usage('openai', { completion_tokens: 10 }), null);
    assert.equal(usage('gemini', { total_tokens: 10 }), null);
  });

  it('deepseek has its own name for cached tokens, groq its own place for usage', () => {
    assert.deepEqual(
      usage('deepseek', { prompt_tokens: 10, completion_tokens: 5, prompt_cache_hit_tokens: 4 }),
      { ...expected, cache_read_tokens: 4 },
    );
    const groq = read('groq', {
      choices: [],
      x_groq: { usage: { prompt_tokens: 10, completion_tokens: 5 } },
    });
    assert.deepEqual(groq.usage, expected);
  });

  it('odd usage is unknown, also after one that was told on the way, and the answer stands', () => {
    const before = { choices: [], usage: { prompt_tokens: 10, completion_tokens: 1 } };
    for (const odd of [
      { prompt_tokens: -1, completion_tokens: 5 },
      { completion_tokens: 5.5 },
      'much',
      5,
      [],
    ]) {
      const chunk = { choices: [{ delta: { content: 'a' }, finish_reason: 'stop' }], usage: odd };
      const answer = read('mistral', before, chunk);
      assert.deepEqual([answer.text, answer.finishReason, answer.usage], ['a', 'stop', null]);
    }
    for (const none of [{}, { usage: null }, { usage: null, x_groq: null }]) {
      assert.deepEqual(read('openai', before, { choices: [], ...none }).usage?.output_tokens, 1);
    }
  });

  it('usage in the chunk that ends the answer counts too (mistral)', () => {
    const chunk = {
      choices: [{ delta: { content: 'a' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 10, completion_tokens: 5 },
    };
    assert.deepEqual(read('mistral', chunk).usage, expected);
  });
});

describe('tool calls', () => {
  const fragment = (call: object): unknown => ({ choices: [{ delta: { tool_calls: [call] } }] });

  it('calls that share one index are told apart by their ids', () => {
    const { toolCalls } = read(
      'gemini',
      fragment({ index: 0, id: 'a', function: { name: 'f', arguments: '{"n":1}' } }),
      fragment({ index: 0, id: 'b', function: { name: 'f', arguments: '{"n":2}' } }),
    );
    assert.deepEqual(
      toolCalls.map((call) => [call.id, call.arguments]),
      [
        ['a', '{"n":1}'],
        ['b', '{"n":2}'],
      ],
    );
  });

  it('a piece that names no call belongs to the last one (gateways that leave the index out)', () => {
    const { toolCalls } = read(
      'openai',
      fragment({ id: 'a', function: { name: 'f', arguments: '{"n"' } }),
      fragment({ function: { arguments: ':1}' } }),
      fragment({ id: 'b', function: { name: 'g', arguments: '' } }),
      fragment({ id: null, function: { name: null, arguments: '{}' } }),
    );
    assert.deepEqual(toolCalls, [
      { id: 'a', name: 'f', arguments: '{"n":1}' },
      { id: 'b', name: 'g', arguments: '{}' },
    ]);
  });

  it('calls without any index stay apart', () => {
    const { toolCalls } = read('gemini', {
      choices: [
        {
          message: {
            tool_calls: [
              { id: 'a', function: { name: 'f', arguments: '1' } },
              { id: 'b', function: { name: 'g', arguments: '2' } },
            ],
          },
          finish_reason: 'tool_calls',
        },
      ],
    });
    assert.deepEqual(
      toolCalls.map(({ name }) => name),
      ['f', 'g'],
    );
  });

  const extra_content = { google: { thought_signature: 'abc==' } };
  const signed = [
    fragment({ index: 0, id: 'a', function: { name: 'f', arguments: '{' } }),
    fragment({ index: 0, function: { arguments: '}' }, extra_content }),
    fragment({ index: 1, id: 'b', function: { name: 'g' } }),
  ];

  it('mistral is sent ids of nine letters and digits, its own as they are, each result with that of its call', () => {
    const ids = ['toolu_01A09q90qw90lq917835lq9', 'call_1', 'D681PevKs', 'call_2'];
    const messages: Message[] = [
      { role: 'assistant', content: '', toolCalls: ids.map((id) => ({ id, name: 'f', arguments: '{}' })) },
      ...ids.map((callId): Message => ({ role: 'tool', callId, content: '', isError: false })),
    ];
    const sent = (provider: DialectName): string[][] => {
      const body = toCompletionsBody({ ...request, messages }, 'y', DIALECTS[provider]);
      const calls = body.messages.flatMap((one) => ('tool_calls' in one ? (one.tool_calls ?? []) : []));
      const results = body.messages.flatMap((one) => ('tool_call_id' in one ? [one.tool_call_id] : []));
      return [calls.map(({ id }) => id), results];
    };
    const [asked = [], answered] = sent('mistral');
    for (const id of asked) assert.match(id, /^[a-zA-Z0-9]{9}$/);
    assert.deepEqual(asked, answered);
    assert.deepEqual([new Set(asked).size, asked[2]], [4, 'D681PevKs']);
    assert.deepEqual(sent('openai'), [ids, ids]);
  });

  it('ids of others than mistral have at most 40 characters, which is all that openai takes', () => {
    const ids = [
      'call_550e8400-e29b-41d4-a716-446655440000',
      `${'x'.repeat(100)}1`,
      `${'x'.repeat(100)}2`,
      'ok',
    ];
    const messages: Message[] = [
      { role: 'assistant', content: '', toolCalls: ids.map((id) => ({ id, name: 'f', arguments: '{}' })) },
      ...ids.map((callId): Message => ({ role: 'tool', callId, content: '', isError: false })),
    ];
    for (const provider of ['openai', 'openrouter', 'gemini', 'oauth-gpt'] as const) {
      const body = toCompletionsBody({ ...request, messages }, 'y', DIALECTS[provider]);
      const calls = body.messages.flatMap((one) => ('tool_calls' in one ? (one.tool_calls ?? []) : []));
      const sent = calls.map(({ id }) => id);
      assert.deepEqual(
        sent,
        body.messages.flatMap((one) => ('tool_call_id' in one ? [one.tool_call_id] : [])),
      );
      assert.deepEqual(
        [new Set(sent).size, Math.max(...sent.map((id) => id.length)), sent[3]],
        [4, 40, 'ok'],
      );
    }
  });

  it('a signature is kept with its call, whichever fragment it came with, of those who want it back only', () => {
    const plain = [
      { id: 'a', name: 'f', arguments: '{}' },
      { id: 'b', name: 'g', arguments: '{}' },
    ];
    const kept = [{ ...plain[0], extra_content: JSON.stringify(extra_content) }, plain[1]];
    assert.deepEqual(read('gemini', ...signed).toolCalls, kept);
    assert.deepEqual(read('openrouter', ...signed).toolCalls, plain);
  });

  it('a signature goes back to the models that want one, and to no other', () => {
    const { toolCalls } = read('gemini', ...signed);
    const messages: Message[] = [
      { role: 'assistant', content: '', toolCalls },
      { role: 'assistant', content: '', toolCalls: [{ id: 'c', name: 'f', arguments: '{}' }] },
    ];
    const sent = (provider: DialectName, model: string): unknown[] =>
      toCompletionsBody({ ...request, messages }, model, DIALECTS[provider]).messages.flatMap((message) =>
        'tool_calls' in message
          ? (message.tool_calls ?? []).map((call) => ('extra_content' in call ? call.extra_content : null))
          : [],
      );
    const unsigned = { google: { thought_signature: 'skip_thought_signature_validator' } };
    assert.deepEqual(sent('gemini', 'gemini-3.8-flash'), [extra_content, null, unsigned]);
    assert.deepEqual(sent('gemini', 'gemini-flash-latest'), [extra_content, null, unsigned]);
    for (const [provider, model] of [
      ['gemini', 'gemini-2.5-flash'],
      ['gemini', 'gemma-3-27b-it'],
      ['openai', 'gpt-4o-mini'],
      ['openrouter', 'google/gemini-3-pro'],
    ] as const)
      assert.deepEqual(sent(provider, model), [null, null, null], model);
  });

  it('arguments that are no object go back as one, since many refuse the whole conversation else', () => {
    const sent = (text: string): unknown => {
      const toolCalls = [{ id: 'a', name: 'f', arguments: text }];
      const messages: Message[] = [{ role: 'assistant', content: '', toolCalls }];
      const body = toCompletionsBody({ ...request, messages }, 'y', DIALECTS.groq);
      const calls = body.messages.flatMap((one) => ('tool_calls' in one ? (one.tool_calls ?? []) : []));
      return calls.map((call) => (call.type === 'function' ? call.function.arguments : null))[0];
    };
    assert.equal(sent('{ "n": 1.0, "x": "\u00e4" }'), '{ "n": 1.0, "x": "\u00e4" }');
    for (const bad of ['{"path": "a', 'not json', '[1]', '"text"', '7', 'null'])
      assert.equal(sent(bad), JSON.stringify({ invalid_arguments: bad }));
    assert.equal(sent('"'.repeat(100_000)), JSON.stringify({ invalid_arguments: '"'.repeat(500) }));
  });

  it('content that comes in parts: text is text, thoughts are hidden output (magistral)', () => {
    const thinking = (thoughts: unknown): unknown => ({ type: 'thinking', thinking: thoughts });
    const content = [
      thinking([{ type: 'text', text: 'Hm, ' }]),
      thinking('well.'),
      { type: 'text', text: 'Yes' },
      { type: 'reference', reference_ids: [1] },
    ];
    for (const field of ['delta', 'message']) {
      const answer = new AnswerBuilder(() => undefined, false);
      const reader = createCompletionsReader(DIALECTS.mistral);
      reader.onEvent({ choices: [{ [field]: { content } }] }, answer);
      reader.onEvent({ choices: [{ [field]: { content: '!' }, finish_reason: 'stop' }] }, answer);
      assert.deepEqual([answer.answer('y').text, answer.outputBytes], ['Yes!', 'Hm, well.Yes!'.length]);
    }
  });

  it('a refusal is the text, and the reason', () => {
    const answer = read(
      'openai',
      { choices: [{ delta: { refusal: 'No.' } }] },
      { choices: [{ delta: {}, finish_reason: 'stop' }] },
    );
    assert.deepEqual([answer.text, answer.finishReason], ['No.', 'refusal']);
  });

  it('a reason of an unknown name is a plain end, whatever the name', () => {
    for (const reason of ['eos', 'toString', 'constructor', '__proto__']) {
      const answer = read('openai', { choices: [{ delta: { content: 'ok' }, finish_reason: reason }] });
      assert.equal(answer.finishReason, 'stop');
    }
  });

  it('an answer that ends as an error is no answer, but what it cost is known (mistral)', () => {
    const answer = new AnswerBuilder(() => undefined, false);
    const usage = { prompt_tokens: 10, completion_tokens: 5 };
    const last = { choices: [{ delta: { content: 'Ye' }, finish_reason: 'error' }], usage };
    assert.throws(
      () => createCompletionsReader(DIALECTS.mistral).onEvent(last, answer),
      /broke off the answer/,
    );
    assert.deepEqual([answer.finishReason, answer.outputBytes], [null, 2]);
    assert.equal(answer.usage?.output_tokens, 5);
  });

  it('a full window cuts the answer off like a limit (mistral)', () => {
    const answer = read('mistral', {
      choices: [{ delta: { content: 'Ye' }, finish_reason: 'model_length' }],
    });
    assert.equal(answer.finishReason, 'length');
  });

  it('what gemini filters is no whole answer, in whichever of its names it says so', () => {
    const finish = (reason: string, provider: DialectName = 'gemini'): unknown =>
      read(provider, { choices: [{ delta: { content: 'Ye' }, finish_reason: reason }] }).finishReason;
    for (const reason of ['SAFETY', 'RECITATION', 'BLOCKLIST', 'PROHIBITED_CONTENT', 'SPII']) {
      assert.deepEqual([finish(reason), finish(`content_filter: ${reason}`)], ['refusal', 'refusal'], reason);
    }
    assert.equal(finish('function_call_filter: MALFORMED_FUNCTION_CALL'), 'length');
    assert.deepEqual([finish('MAX_TOKENS'), finish('STOP')], ['length', 'stop']);
    assert.equal(finish('content_filter: SAFETY', 'openrouter'), 'refusal');
  });

  it('an error in the place of a completion is an error (openrouter answers it with HTTP 200)', () => {
    assert.throws(
      () => read('openrouter', { error: { code: 502, message: 'upstream is down' } }),
      /upstream is down/,
    );
  });

  it('what is not a chunk is an error that quotes nothing', () => {
    assert.throws(
      () => read('openai', { choices: 'secret' }),
      (error: Error) => /choices/.test(error.message) && !error.message.includes('secret'),
    );
  });
});
