/** Both wire formats against a server that speaks them: outputs, usage, and cost to the nano-USD. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Message, Price, ToolCall } from '@signalbox/contracts';
import { costNano, createPrices } from '@signalbox/providers';
import type { FakeReply } from '../support/fake-provider/index.ts';
import { ask, HAIKU, MINI, requestTo, until, withFake } from './calls.ts';

const prices = createPrices({ clock: { now: () => Date.UTC(2026, 10, 1) } });
const priceOf = (model: string): Price => {
  const price = prices.priceOf(model);
  assert.ok(price);
  return price;
};

const USAGE = {
  input_tokens: 12_347,
  output_tokens: 321,
  cache_read_tokens: 4_000,
  cache_write_tokens: 2_001,
};
/**
 * haiku 4.5, USD per Mtok: input 1, output 5, cache read 0.10, cache write 1.25. In nano-USD per token:
 * 6,346 x 1000 + 4,000 x 100 + 2,001 x 1250 + 321 x 5000 = 6,346,000 + 400,000 + 2,501,250 + 1,605,000.
 */
const HAIKU_NANO = 10_852_250;
/**
 * gpt-4o-mini: input 0.15, output 0.60, cached 0.075; it does not bill cache writes apart from input.
 * 8,347 x 150 + 4,000 x 75 + 321 x 600 = 1,252,050 + 300,000 + 192,600.
 */
const MINI_NANO = 1_744_650;

const MODELS = [
  { model: HAIKU, nano: HAIKU_NANO },
  { model: MINI, nano: MINI_NANO },
];

const TEXT = 'Grüße, 世界! 👩‍👩‍👧‍👦 𓀀 "quoted" \\ \n\t\u0000 end';
const CALLS: readonly ToolCall[] = [
  { id: 'call_a', name: 'calculator', arguments: '{"expression":"2 * (3 + 4) — ½ 🧮"}' },
  { id: 'call_b', name: 'current_time', arguments: '{}' },
  { id: 'call_c', name: 'http_request', arguments: '{"method":"GET","url":"https://example.org/ä?q=%20"}' },
];

const WAYS: readonly { readonly name: string; readonly reply: FakeReply }[] = [
  { name: 'streamed', reply: {} },
  { name: 'not streamed', reply: { json: true } },
  { name: 'torn into single bytes', reply: { splitBytes: 1 } },
  { name: 'torn into 7 bytes', reply: { splitBytes: 7 } },
  { name: 'one body torn into 3 bytes', reply: { json: true, splitBytes: 3 } },
];

for (const { model, nano } of MODELS) {
  describe(model, () => {
    for (const { name, reply } of WAYS) {
      it(`${name}: text, parallel tool calls, usage and cost are right`, () =>
        withFake(
          { behave: () => ({ text: TEXT, toolCalls: CALLS, usage: USAGE, ...reply }) },
          async (fake, models) => {
            const { answer, deltas } = await ask(models, requestTo(model));
            assert.equal(answer.text, TEXT);
            assert.equal(deltas.join(''), TEXT);
            assert.deepEqual(answer.toolCalls, CALLS);
            assert.equal(answer.finishReason, 'tool_calls');
            // gpt-4o-mini reports cache writes within its input like any other field.
            assert.deepEqual(answer.usage, USAGE);
            assert.equal(answer.modelServed, model.split('/')[1]);
            assert.match(answer.providerRequestId ?? '', /^req_/);
            assert.equal(costNano(answer.usage ?? USAGE, priceOf(model)), nano);
            await until(() => fake.ledger[0]?.finishedAt !== null);
            assert.equal(fake.ledger[0]?.costNano, nano);
          },
        ));
    }

    it('a plain answer of one token each way costs what is published', () =>
      withFake(
        { behave: () => ({ text: 'x', usage: { input_tokens: 1, output_tokens: 1 } }) },
        async (_, models) => {
          const { answer } = await ask(models, requestTo(model));
          assert.ok(answer.usage);
          // 1 x 1000 + 1 x 5000; 1 x 150 + 1 x 600
          assert.equal(costNano(answer.usage, priceOf(model)), model === HAIKU ? 6000 : 750);
          assert.equal(answer.finishReason, 'stop');
        },
      ));

    it('maps every end', () =>
      withFake(
        { behave: ({ messages }) => ({ finishReason: messages[0]?.content as 'length' }) },
        async (_, models) => {
          for (const end of ['stop', 'length', 'refusal'] as const) {
            const request = requestTo(model, { messages: [{ role: 'user', content: end }] });
            assert.equal((await ask(models, request)).answer.finishReason, end);
          }
        },
      ));

    it('missing usage is null, streamed or not', () =>
      withFake(
        { behave: ({ messages }) => ({ text: 'a', omitUsage: true, json: messages[0]?.content === 'json' }) },
        async (_, models) => {
          for (const content of ['sse', 'json']) {
            const { answer } = await ask(models, requestTo(model, { messages: [{ role: 'user', content }] }));
            assert.equal(answer.usage, null);
            assert.equal(answer.text, 'a');
          }
        },
      ));

    it('usage that is no count is missing, and the answer stands, streamed or not', () =>
      withFake(
        {
          behave: ({ messages }) => ({
            text: 'a',
            usage: { input_tokens: 20, output_tokens: messages.length === 1 ? -5 : 5.5 },
            json: messages[0]?.content === 'json',
          }),
        },
        async (fake, models) => {
          for (const content of ['sse', 'json']) {
            for (const count of [1, 2]) {
              const messages = Array.from({ length: count }, () => ({ role: 'user' as const, content }));
              const { answer } = await ask(models, requestTo(model, { messages }));
              assert.deepEqual([answer.text, answer.finishReason, answer.usage], ['a', 'stop', null]);
            }
          }
          assert.equal(fake.ledger.length, 4);
        },
      ));

    it('sends a whole conversation in a form the API takes, and reads nothing into it', () =>
      withFake({}, async (fake, models) => {
        const messages: Message[] = [
          { role: 'user', content: 'go' },
          { role: 'assistant', content: '', toolCalls: CALLS },
          { role: 'tool', callId: 'call_a', content: '14', isError: false },
          { role: 'tool', callId: 'call_b', content: '', isError: false },
          { role: 'tool', callId: 'call_c', content: 'lone \ud800 and \u0000', isError: true },
          { role: 'assistant', content: 'done', toolCalls: [] },
          { role: 'user', content: 'again \udfff\u0000' },
        ];
        const tools = [
          { name: 'calculator', description: 'd', parameters: { type: 'object', properties: {} } },
        ];
        const { answer } = await ask(models, requestTo(model, { messages, tools }));
        assert.equal(fake.ledger[0]?.status, 200);
        assert.equal(answer.text, 'again \ufffd\u0000');
        assert.equal(fake.ledger[0].maxTokens, 500);
      }));

    it('names of tools that a model made up go back as ones that a provider takes', () =>
      withFake({}, async (fake, models) => {
        const names = ['multi_tool_use.parallel', '', '<|channel|>', 'a'.repeat(200), 'calculator'];
        const messages: Message[] = [
          { role: 'user', content: 'go' },
          {
            role: 'assistant',
            content: '',
            toolCalls: names.map((name, n) => ({ id: `call_${n}`, name, arguments: '{}' })),
          },
          ...names.map(
            (_, n): Message => ({ role: 'tool', callId: `call_${n}`, content: 'x', isError: true }),
          ),
        ];
        await ask(models, requestTo(model, { messages }));
        const sent = JSON.stringify(fake.ledger[0]?.body).matchAll(/"name":"([^"]*)"/g);
        assert.deepEqual(
          Array.from(sent, ([, name]) => name),
          ['multi_tool_use_parallel', '_', '__channel__', 'a'.repeat(64), 'calculator'],
        );
      }));

    it('arguments that a model nested without end do not keep the conversation from being sent', () =>
      withFake({}, async (fake, models) => {
        const deep = `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`;
        const messages: Message[] = [
          { role: 'user', content: 'go' },
          { role: 'assistant', content: '', toolCalls: [{ id: 'c', name: 'calculator', arguments: deep }] },
          { role: 'tool', callId: 'c', content: 'no', isError: true },
          { role: 'user', content: 'again' },
        ];
        assert.equal((await ask(models, requestTo(model, { messages }))).answer.text, 'again');
        assert.equal(fake.ledger[0]?.status, 200);
      }));

    it('a lone surrogate from the provider cannot get further', () =>
      withFake(
        {
          behave: () => ({
            text: 'a\ud83d',
            toolCalls: [{ id: 'c', name: 'n', arguments: '{"x":"\ude00"}' }],
          }),
        },
        async (_, models) => {
          const { answer, deltas } = await ask(models, requestTo(model));
          assert.equal(answer.text, 'a\ufffd');
          assert.equal(deltas.join(''), 'a\ufffd');
          assert.ok(answer.toolCalls[0]?.arguments.isWellFormed());
        },
      ));

    it('plays the script in the conversation, turn by turn', () =>
      withFake({}, async (_, models) => {
        const script = JSON.stringify({
          turns: [
            { tool_calls: [{ name: 'calculator', arguments: { expression: '1+1' } }] },
            { text: 'is {{tool_results}}' },
          ],
        });
        const first = await ask(models, requestTo(model, { messages: [{ role: 'user', content: script }] }));
        const [call] = first.answer.toolCalls;
        assert.deepEqual(call, { id: 'call_1_1', name: 'calculator', arguments: '{"expression":"1+1"}' });
        const messages: Message[] = [
          { role: 'user', content: script },
          { role: 'assistant', content: '', toolCalls: first.answer.toolCalls },
          { role: 'tool', callId: 'call_1_1', content: '2', isError: false },
        ];
        assert.equal((await ask(models, requestTo(model, { messages }))).answer.text, 'is 2');
      }));
  });
}

it('the results of parallel calls are one user message for Anthropic', () =>
  withFake({}, async (fake, models) => {
    const messages: Message[] = [
      { role: 'user', content: 'go' },
      {
        role: 'assistant',
        content: 'calling',
        toolCalls: CALLS.map((call) => ({ ...call, arguments: 'not json' })),
      },
      ...CALLS.map(({ id }): Message => ({ role: 'tool', callId: id, content: `of ${id}`, isError: false })),
    ];
    await ask(models, requestTo(HAIKU, { messages }));
    const body = fake.ledger[0]?.body as {
      messages: { role: string; content: { type: string; input?: unknown }[] }[];
    };
    assert.deepEqual(
      body.messages.map(({ role }) => role),
      ['user', 'assistant', 'user'],
    );
    assert.deepEqual(
      body.messages[2]?.content.map(({ type }) => type),
      ['tool_result', 'tool_result', 'tool_result'],
    );
    assert.deepEqual(body.messages[1]?.content[1]?.input, { invalid_arguments: 'not json' });
  }));
