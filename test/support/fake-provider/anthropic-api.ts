import type { Message, ToolCall } from '@signalbox/contracts';
import type { FakeRequest, ResolvedReply, WireApi, WireEvent } from './types.ts';
import { arrayOf, objectOf, piecesOf, textOf, toolNames } from './wire-values.ts';

/** `POST /v1/messages`, as strict as the real one about what our adapter must get right. */
export const anthropicApi: WireApi = {
  path: '/v1/messages',
  read: (body) => {
    const { model, max_tokens: maxTokens, messages: wire, system, tools, stream } = objectOf(body);
    if (typeof model !== 'string') return 'model: field required';
    if (typeof maxTokens !== 'number' || maxTokens < 1) return 'max_tokens: field required';
    const messages = readMessages(arrayOf(wire));
    if (typeof messages === 'string') return messages;
    return {
      api: 'anthropic',
      model,
      instructions: textOf(system),
      messages,
      tools: toolNames(tools),
      maxTokens,
      stream: stream === true,
      streamUsage: true,
    };
  },
  events: (request, reply) => {
    const usage = reply.omitUsage === true ? {} : { usage: wireUsage(reply) };
    const start = { ...messageOf(request), content: [], stop_reason: null, ...partialUsage(reply) };
    const blocks = [
      ...textBlocks(reply.text),
      ...reply.toolCalls.flatMap((call, n) => toolBlock(call, n, reply)),
    ];
    return [
      sse('message_start', { message: start }),
      sse('ping', {}),
      ...blocks,
      sse('message_delta', {
        delta: { stop_reason: STOP[reply.finishReason], stop_sequence: null },
        ...usage,
      }),
      sse('message_stop', {}),
    ];
  },
  whole: (request, reply) => ({
    ...messageOf(request),
    content: [
      ...(reply.text === '' ? [] : [{ type: 'text', text: reply.text }]),
      ...reply.toolCalls.map(({ id, name, arguments: args }) => ({
        type: 'tool_use',
        id,
        name,
        input: JSON.parse(args),
      })),
    ],
    stop_reason: STOP[reply.finishReason],
    ...(reply.omitUsage === true ? {} : { usage: wireUsage(reply) }),
  }),
  error: (status, message) => ({
    type: 'error',
    error: { type: ERROR_TYPE[status] ?? 'api_error', message },
  }),
};

const STOP = { stop: 'end_turn', tool_calls: 'tool_use', length: 'max_tokens', refusal: 'refusal' } as const;
const ERROR_TYPE: Readonly<Record<number, string>> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

const readMessages = (wire: readonly unknown[]): Message[] | string => {
  const out: Message[] = [];
  let waiting = new Set<string>();
  for (const entry of wire) {
    const { role, content } = objectOf(entry);
    const blocks =
      typeof content === 'string' ? [{ type: 'text', text: content }] : arrayOf(content).map(objectOf);
    if (blocks.length === 0) return 'messages: content must not be empty';
    if (blocks.some(({ type, text }) => type === 'text' && textOf(text).trim() === '')) {
      return 'messages: text content blocks must contain non-whitespace text';
    }
    const results = blocks.filter(({ type }) => type === 'tool_result');
    const silent = results.findIndex(
      ({ is_error: isError, content: said }) => isError === true && textOf(said).trim() === '',
    );
    if (silent >= 0) return `tool_result ${silent}: content cannot be empty if is_error is true`;
    const answered = new Set(results.map(({ tool_use_id: id }) => textOf(id)));
    const missing = [...waiting].filter((id) => !answered.has(id));
    if (missing.length > 0)
      return `tool_use ids were found without tool_result blocks immediately after: ${missing.join(', ')}`;
    const unknown = [...answered].filter((id) => !waiting.has(id));
    if (unknown.length > 0) return `unexpected tool_use_id in tool_result blocks: ${unknown.join(', ')}`;
    for (const { tool_use_id: id, content: text, is_error: isError } of results) {
      out.push({ role: 'tool', callId: textOf(id), content: textOf(text), isError: isError === true });
    }
    const toolCalls = blocks.filter(({ type }) => type === 'tool_use').map(readCall);
    waiting = new Set(toolCalls.map(({ id }) => id));
    const text = blocks
      .filter(({ type }) => type === 'text')
      .map((block) => textOf(block['text']))
      .join('');
    if (role === 'assistant') out.push({ role, content: text, toolCalls });
    else if (results.length < blocks.length) out.push({ role: 'user', content: text });
  }
  return waiting.size > 0 ? 'tool_use ids were found without tool_result blocks at the end' : out;
};

const readCall = ({ id, name, input }: Record<string, unknown>): ToolCall => ({
  id: textOf(id),
  name: textOf(name),
  arguments: JSON.stringify(input),
});

const messageOf = ({ id, model }: FakeRequest): Record<string, unknown> => ({
  id: `msg_${id}`,
  type: 'message',
  role: 'assistant',
  model,
  stop_sequence: null,
});

const wireUsage = ({ usage }: ResolvedReply): Record<string, number> => ({
  input_tokens: usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens,
  cache_read_input_tokens: usage.cache_read_tokens,
  cache_creation_input_tokens: usage.cache_write_tokens,
  output_tokens: usage.output_tokens,
});

/** The start of a stream knows all input and hardly any output. */
const partialUsage = (reply: ResolvedReply): Record<string, unknown> =>
  reply.omitUsage === true ? {} : { usage: { ...wireUsage(reply), output_tokens: 1 } };

const textBlocks = (text: string): WireEvent[] =>
  text === ''
    ? []
    : [
        sse('content_block_start', { index: 0, content_block: { type: 'text', text: '' } }),
        ...piecesOf(text).map((piece) =>
          sse('content_block_delta', { index: 0, delta: { type: 'text_delta', text: piece } }, piece),
        ),
        sse('content_block_stop', { index: 0 }),
      ];

const toolBlock = (
  { id, name, arguments: args }: ToolCall,
  n: number,
  { text }: ResolvedReply,
): WireEvent[] => {
  const index = n + (text === '' ? 0 : 1);
  return [
    sse('content_block_start', { index, content_block: { type: 'tool_use', id, name, input: {} } }),
    ...['', ...piecesOf(args)].map((piece) =>
      sse('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: piece } }, piece),
    ),
    sse('content_block_stop', { index }),
  ];
};

const sse = (type: string, data: Record<string, unknown>, output = ''): WireEvent => ({
  text: `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`,
  outputBytes: Buffer.byteLength(output),
});
