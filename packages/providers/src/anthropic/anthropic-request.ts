import type { Message, ModelRequest } from '@signalbox/contracts';
import type {
  MessageCreateParamsStreaming,
  MessageParam,
  Tool,
  ToolResultBlockParam,
} from '@anthropic-ai/sdk/resources/messages';
import { argumentsObject, calledName, instructionsOf, sendable } from '../conversation-text.ts';

/** Our request in the Anthropic Messages wire format. */

export const toMessagesBody = (request: ModelRequest, model: string): MessageCreateParamsStreaming => {
  const system = sendable(instructionsOf(request));
  return {
    model,
    max_tokens: request.maxOutputTokens,
    stream: true,
    messages: toMessages(request.messages),
    ...(system.trim() === '' ? {} : { system }),
    // Their scale ends at 1, ours at 2.
    ...(request.temperature === null ? {} : { temperature: Math.min(1, request.temperature) }),
    ...(request.tools.length === 0 ? {} : { tools: request.tools.map(toTool) }),
  };
};

const toTool = ({ name, description, parameters }: ModelRequest['tools'][number]): Tool => ({
  name,
  description,
  input_schema: { ...parameters, type: 'object' },
});

/** Results of parallel calls belong into one user message, directly after the assistant's. */
const toMessages = (messages: readonly Message[]): MessageParam[] => {
  const out: MessageParam[] = [];
  let results: ToolResultBlockParam[] | null = null;
  for (const message of messages) {
    if (message.role !== 'tool') {
      results = null;
      const param = toParam(message);
      if (param !== null) out.push(param);
      continue;
    }
    if (results === null) {
      results = [];
      out.push({ role: 'user', content: results });
    }
    results.push({
      type: 'tool_result',
      tool_use_id: wireId(message.callId),
      content: sendable(message.content),
      is_error: message.isError,
    });
  }
  return out;
};

const toParam = (message: Exclude<Message, { role: 'tool' }>): MessageParam | null => {
  const text = sendable(message.content);
  // Text without a visible character is refused by the API.
  const blank = text.trim() === '';
  if (message.role === 'user') return { role: 'user', content: blank ? '(empty)' : text };
  const calls = message.toolCalls.map(({ id, name, arguments: args }) => ({
    type: 'tool_use' as const,
    id: wireId(id),
    name: calledName(name),
    input: argumentsObject(args),
  }));
  if (blank && calls.length === 0) return null;
  return { role: 'assistant', content: blank ? calls : [{ type: 'text', text }, ...calls] };
};

/** Ids may come from another provider (fallback); this API takes letters, digits, `_` and `-`. */
const wireId = (id: string): string => id.replaceAll(/[^a-zA-Z0-9_-]/g, '_');
