import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Message, ModelRequest } from '@signalbox/contracts';
import { DIALECTS, type DialectName } from './dialects.ts';
import { toCompletionsBody } from './openai-request.ts';

const request: ModelRequest = {
  model: 'x/y',
  instructions: 'i',
  messages: [{ role: 'user', content: 'u' }],
  tools: [],
  maxOutputTokens: 7,
  temperature: 0.5,
  outputSchema: { type: 'object' },
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

describe('tool calls that go back', () => {
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

  it('a signature goes back to the models that want one, and to no other', () => {
    const extra_content = { google: { thought_signature: 'abc==' } };
    const toolCalls = [
      { id: 'a', name: 'f', arguments: '{}', extra_content: JSON.stringify(extra_content) },
      { id: 'b', name: 'g', arguments: '{}' },
    ];
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
});
