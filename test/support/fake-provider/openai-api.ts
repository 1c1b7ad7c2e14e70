import type { Message, ToolCall } from '@signalbox/contracts';
import type { FakeRequest, ResolvedReply, WireApi, WireEvent } from './types.ts';
import { arrayOf, objectOf, piecesOf, textOf, toolNames } from './wire-values.ts';

/** `POST /v1/chat/completions`, as strict as the real one about what our adapter must get right. */
export const openaiApi: WireApi = {
  path: '/v1/chat/completions',
  read: (body) => {
    const { model, messages: wire, tools, stream, stream_options: streamOptions, ...rest } = objectOf(body);
    if (typeof model !== 'string') return 'you must provide a model parameter';
    if (Array.isArray(tools) && tools.length === 0) return "[] is too short - 'tools'";
    const all = arrayOf(wire).map(objectOf);
    const messages = readMessages(all.filter(({ role }) => role !== 'system'));
    if (typeof messages === 'string') return messages;
    const maxTokens = rest['max_completion_tokens'] ?? rest['max_tokens'];
    return {
      api: 'openai',
      model,
      instructions: all
        .filter(({ role }) => role === 'system')
        .map(({ content }) => textOf(content))
        .join('\n'),
      messages,
      tools: toolNames(arrayOf(tools).map((tool) => objectOf(tool)['function'])),
      maxTokens: typeof maxTokens === 'number' ? maxTokens : null,
      stream: stream === true,
      streamUsage: objectOf(streamOptions)['include_usage'] === true,
    };
  },
  events: (request, reply) => {
    const finish = { index: 0, delta: {}, finish_reason: FINISH[reply.finishReason] };
    const withUsage = request.streamUsage && reply.omitUsage !== true;
    return [
      chunk(request, {
        choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
      }),
      ...piecesOf(reply.text).map((piece) => delta(request, { content: piece }, piece)),
      ...toolEvents(request, reply.toolCalls),
      chunk(request, { choices: [finish] }),
      ...(withUsage ? [chunk(request, { choices: [], usage: wireUsage(reply) })] : []),
      { text: 'data: [DONE]\n\n', outputBytes: 0 },
    ];
  },
  whole: (request, reply) => ({
    ...completionOf(request, 'chat.completion'),
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: reply.text === '' ? null : reply.text,
          ...(reply.toolCalls.length === 0 ? {} : { tool_calls: reply.toolCalls.map(wireCall) }),
        },
        finish_reason: FINISH[reply.finishReason],
      },
    ],
    ...(reply.omitUsage === true ? {} : { usage: wireUsage(reply) }),
  }),
  error: (status, message) => ({
    error: {
      message,
      type: status === 400 ? 'invalid_request_error' : 'server_error',
      param: null,
      code: null,
    },
  }),
};

const FINISH = {
  stop: 'stop',
  tool_calls: 'tool_calls',
  length: 'length',
  refusal: 'content_filter',
} as const;

const readMessages = (wire: readonly Record<string, unknown>[]): Message[] | string => {
  const out: Message[] = [];
  const waiting = new Set<string>();
  for (const { role, content, tool_calls: calls, tool_call_id: callId } of wire) {
    if (role === 'tool') {
      if (!waiting.delete(textOf(callId)))
        return `messages with role 'tool' must answer a preceding tool call: ${textOf(callId)}`;
      out.push({ role: 'tool', callId: textOf(callId), content: textOf(content), isError: false });
      continue;
    }
    if (waiting.size > 0) return `tool_call_ids did not have response messages: ${[...waiting].join(', ')}`;
    if (role === 'user') out.push({ role, content: textOf(content) });
    if (role !== 'assistant') continue;
    const toolCalls = arrayOf(calls).map((call) => readCall(objectOf(call)));
    for (const { id } of toolCalls) waiting.add(id);
    out.push({ role, content: textOf(content), toolCalls });
  }
  return waiting.size > 0 ? `tool_call_ids did not have response messages: ${[...waiting].join(', ')}` : out;
};

const readCall = ({ id, function: called, extra_content: extra }: Record<string, unknown>): ToolCall => ({
  id: textOf(id),
  name: textOf(objectOf(called)['name']),
  arguments: textOf(objectOf(called)['arguments']),
  ...(extra === undefined ? {} : { extra_content: JSON.stringify(extra) }),
});

const wireCall = ({ id, name, arguments: args, extra_content: extra }: ToolCall): unknown => ({
  id,
  type: 'function',
  function: { name, arguments: args },
  ...(extra === undefined ? {} : { extra_content: JSON.parse(extra) as unknown }),
});

/** First every call is opened, then their arguments come in turns: the fragments of parallel calls mix. */
const toolEvents = (request: FakeRequest, calls: readonly ToolCall[]): WireEvent[] => {
  const opened = calls.map((call, index) =>
    delta(request, { tool_calls: [{ index, ...objectOf(wireCall({ ...call, arguments: '' })) }] }),
  );
  const pieces = calls.map(({ arguments: args }) => piecesOf(args));
  const rounds = Math.max(0, ...pieces.map(({ length }) => length));
  const fragments = Array.from({ length: rounds }, (_, round) =>
    pieces.flatMap((own, index) => {
      const piece = own[round];
      if (piece === undefined) return [];
      return [delta(request, { tool_calls: [{ index, function: { arguments: piece } }] }, piece)];
    }),
  );
  return [...opened, ...fragments.flat()];
};

const completionOf = ({ id, model }: FakeRequest, object: string): Record<string, unknown> => ({
  id: `chatcmpl-${id}`,
  object,
  created: 0,
  model,
});

const delta = (request: FakeRequest, content: Record<string, unknown>, output = ''): WireEvent =>
  chunk(request, { choices: [{ index: 0, delta: content, finish_reason: null }] }, output);

const chunk = (request: FakeRequest, data: Record<string, unknown>, output = ''): WireEvent => ({
  text: `data: ${JSON.stringify({ ...completionOf(request, 'chat.completion.chunk'), ...data })}\n\n`,
  outputBytes: Buffer.byteLength(output),
});

const wireUsage = ({ usage }: ResolvedReply): unknown => ({
  prompt_tokens: usage.input_tokens,
  completion_tokens: usage.output_tokens,
  total_tokens: usage.input_tokens + usage.output_tokens,
  prompt_tokens_details: {
    cached_tokens: usage.cache_read_tokens,
    cache_write_tokens: usage.cache_write_tokens,
  },
});
