import type { Usage } from '@signalbox/contracts';
import { echoTurn, estimatedTokens, type MockScript, playTurn, scriptOf } from '@signalbox/providers';
import type { FakeReply, FakeRequest, ResolvedReply } from './types.ts';

/** Plays the conversation's own script (format of `mock/script`), else the given one, else echoes. */
export const defaultReply = (request: FakeRequest, fallback: MockScript | null): FakeReply => {
  const script = scriptOf(request) ?? fallback;
  if (typeof script === 'string') return { status: 400, text: `bad script: ${script}` };
  const turn = script === null ? echoTurn(request) : playTurn(script, request);
  const { text, toolCalls, usage, finishReason, delayMs, chunkDelayMs, error } = turn;
  if (error !== null) return { status: error.status, text: error.message, delayMs };
  const reply = { text, toolCalls, finishReason, delayMs, chunkDelayMs };
  if (usage === null) return { ...reply, omitUsage: true };
  const limit = request.maxTokens ?? Number.MAX_SAFE_INTEGER;
  // A model stops at its limit; only a script's own usage may say otherwise.
  if (usage.output_tokens <= limit || toolCalls.length > 0 || script !== null) return { ...reply, usage };
  const cut = Buffer.from(text)
    .subarray(0, limit * 4)
    .toString()
    .replace(/\uFFFD+$/, '');
  return { ...reply, text: cut, usage: { ...usage, output_tokens: limit }, finishReason: 'length' };
};

export const resolveReply = (request: FakeRequest, reply: FakeReply): ResolvedReply => {
  const text = reply.text ?? '';
  const toolCalls = reply.toolCalls ?? [];
  const estimated: Usage = {
    input_tokens: estimatedTokens(request.instructions, ...request.messages.map(({ content }) => content)),
    output_tokens: estimatedTokens(text, ...toolCalls.map((call) => call.name + call.arguments)),
    cache_read_tokens: 0,
    cache_write_tokens: 0,
  };
  return {
    ...reply,
    text,
    toolCalls,
    usage: { ...estimated, ...reply.usage },
    finishReason: reply.finishReason ?? (toolCalls.length > 0 ? 'tool_calls' : 'stop'),
  };
};
