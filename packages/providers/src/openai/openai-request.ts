import type { Message, ModelRequest, ToolCall } from '@signalbox/contracts';
import type {
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageParam,
  ChatCompletionTool,
} from 'openai/resources/chat/completions';
import { argumentsJson, calledName, instructionsOf, sendable } from '../conversation-text.ts';
import type { Dialect } from './dialects.ts';

/** Our request in the Chat Completions wire format, in the dialect of its provider. */

type Body = ChatCompletionCreateParamsStreaming & { readonly thinking?: { readonly type: 'disabled' } };

const effortOf = (request: ModelRequest, model: string, dialect: Dialect): Pick<Body, 'reasoning_effort'> =>
  request.tools.length > 0 && dialect.refusesToolsWhileReasoning?.(model) === true
    ? { reasoning_effort: 'none' }
    : {};

export const toCompletionsBody = (request: ModelRequest, model: string, dialect: Dialect): Body => {
  const all: Body = {
    model,
    messages: toMessages(request, model, dialect),
    stream: true,
    stream_options: { include_usage: true },
    service_tier: 'default',
    thinking: { type: 'disabled' },
    ...effortOf(request, model, dialect),
    max_tokens: request.maxOutputTokens,
    max_completion_tokens: request.maxOutputTokens,
    ...(request.temperature === null ? {} : { temperature: request.temperature }),
    ...(request.tools.length === 0 ? {} : { tools: request.tools.map(toTool) }),
  };
  const allowed = new Set<string>(dialect.fields);
  return Object.fromEntries(Object.entries(all).filter(([field]) => allowed.has(field))) as unknown as Body;
};

const toTool = ({ name, description, parameters }: ModelRequest['tools'][number]): ChatCompletionTool => ({
  type: 'function',
  function: { name, description, parameters: { ...parameters } },
});

interface CallForm {
  readonly signed: boolean;
  readonly wireId: (id: string) => string;
}

const toMessages = (request: ModelRequest, model: string, dialect: Dialect): ChatCompletionMessageParam[] => {
  const system = sendable(instructionsOf(request));
  const form: CallForm = { signed: dialect.signsToolCalls?.(model) ?? false, wireId: dialect.wireId };
  const messages = request.messages.map((message) => toMessage(message, form));
  return system.trim() === '' ? messages : [{ role: 'system', content: system }, ...messages];
};

const toMessage = (message: Message, { signed, wireId }: CallForm): ChatCompletionMessageParam => {
  const content = sendable(message.content);
  if (message.role === 'user') return { role: 'user', content };
  if (message.role === 'tool') return { role: 'tool', tool_call_id: wireId(message.callId), content };
  if (message.toolCalls.length === 0) return { role: 'assistant', content };
  return {
    role: 'assistant',
    content: content === '' ? null : content,
    tool_calls: message.toolCalls.map((call, index) => ({
      id: wireId(call.id),
      type: 'function',
      function: { name: calledName(call.name), arguments: argumentsJson(call.arguments) },
      ...(signed ? signatureOf(message.toolCalls, index) : {}),
    })),
  };
};

/** Google's word for calls that none of its models made; of a turn, the first call is asked for one. */
const UNSIGNED = { google: { thought_signature: 'skip_thought_signature_validator' } };

const signatureOf = (calls: readonly ToolCall[], index: number): { readonly extra_content?: unknown } => {
  const own = calls[index]?.extra_content;
  if (own !== undefined) return { extra_content: JSON.parse(own) as unknown };
  return index === 0 ? { extra_content: UNSIGNED } : {};
};
