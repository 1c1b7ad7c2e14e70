import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ModelAnswer } from '@signalbox/contracts';
import { AnswerBuilder } from '../attempt/answer-builder.ts';
import { DIALECTS, type DialectName } from './dialects.ts';
import { createCompletionsReader } from './openai-answer.ts';

const read = (provider: DialectName, ...chunks: readonly unknown[]): ModelAnswer => {
  const answer = new AnswerBuilder(() => undefined, false);
  const reader = createCompletionsReader(DIALECTS[provider]);
  for (const chunk of chunks) reader.onEvent(chunk, answer);
  return answer.answer('y');
};

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

  it('more from the cache than the prompt has is unknown (gateways that leave it out of the prompt)', () => {
    const wire = { prompt_tokens: 10, completion_tokens: 5, prompt_tokens_details: { cached_tokens: 4000 } };
    assert.equal(usage('openai', wire), null);
    assert.equal(
      usage('deepseek', { ...wire, prompt_tokens_details: null, prompt_cache_hit_tokens: 11 }),
      null,
    );
    const written = { ...wire, prompt_tokens_details: { cached_tokens: 6, cache_write_tokens: 5 } };
    assert.equal(usage('openai', written), null);
  });

  it('more reasoning than the completion has is unknown (gateways that leave it out of the completion)', () => {
    const wire = (reasoning: unknown): unknown => ({
      prompt_tokens: 10,
      completion_tokens: 5,
      total_tokens: 515,
      completion_tokens_details: { reasoning_tokens: reasoning },
    });
    assert.equal(usage('openai', wire(500)), null);
    assert.deepEqual(usage('gemini', wire(500)), { ...expected, output_tokens: 505 });
    for (const told of [5, 0, null, 'many', -1]) assert.deepEqual(usage('openai', wire(told)), expected);
  });

  it('openrouter tells what the call cost, the others have no such field', () => {
    const cost = (provider: DialectName, told: unknown): unknown =>
      read(provider, { choices: [], usage: { prompt_tokens: 10, completion_tokens: 5, cost: told } })
        .costNano;
    assert.equal(cost('openrouter', 0.0000123), 12_300);
    for (const odd of [null, 0, -1, '1', {}]) assert.equal(cost('openrouter', odd), undefined);
    assert.equal(cost('openai', 0.0000123), undefined);
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

  it('without ids, a name behind a whole call begins another (gemini)', () => {
    const { toolCalls } = read(
      'gemini',
      fragment({ index: 0, id: '', function: { name: 'f', arguments: '{"n":1}' } }),
      fragment({ index: 0, function: { name: 'f', arguments: '{"n"' } }),
      fragment({ index: 0, function: { name: 'f', arguments: ':2}' } }),
      fragment({ index: 0, function: { name: 'f', arguments: '' } }),
    );
    assert.deepEqual(
      toolCalls.map((call) => [call.name, call.arguments]),
      [
        ['f', '{"n":1}'],
        ['f', '{"n":2}'],
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

  it('a name that comes after the id, or after arguments, is the name of its call', () => {
    const { toolCalls } = read(
      'openai',
      fragment({ index: 0, id: 'a', function: { name: '', arguments: '{"n"' } }),
      fragment({ index: 1, id: 'b' }),
      fragment({ index: 0, function: { name: 'f', arguments: ':1}' } }),
      fragment({ index: 1, id: 'b', function: { name: 'g', arguments: '{}' } }),
      fragment({ index: 1, function: { name: 'g', arguments: '' } }),
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

  it('a signature is kept with its call, whichever fragment it came with, of those who want it back only', () => {
    const plain = [
      { id: 'a', name: 'f', arguments: '{}' },
      { id: 'b', name: 'g', arguments: '{}' },
    ];
    const kept = [{ ...plain[0], extra_content: JSON.stringify(extra_content) }, plain[1]];
    assert.deepEqual(read('gemini', ...signed).toolCalls, kept);
    assert.deepEqual(read('openrouter', ...signed).toolCalls, plain);
  });
});

describe('texts and ends', () => {
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
