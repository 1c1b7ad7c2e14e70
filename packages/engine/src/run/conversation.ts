import type { AnswerContent, Message, Nudge, RunInput, ToolResultContent } from '@signalbox/contracts';
import { type LlmStep, lastAttempt, type RunState } from './state.ts';

/** Opens a sealed content by its ref. */
export interface Contents {
  answer(ref: string): AnswerContent;
  result(ref: string): ToolResultContent;
}

const NUDGES: Record<Nudge, string> = {
  empty: 'Your last answer was empty. Answer the request, or call a tool.',
  truncated: 'Your last answer was cut off at the output limit. Give the whole answer again, shorter.',
  schema:
    'Your last answer did not follow the required JSON schema. Answer with JSON that follows it and nothing else.',
  loop: 'You called the same tool with the same arguments several times and got the same result each time. Do not repeat that call: use the result you have, try something else, or answer now. One more repetition ends the run.',
};

export const openingMessages = (input: RunInput): Message[] =>
  typeof input === 'string'
    ? [{ role: 'user', content: input }]
    : input.map((message) =>
        message.role === 'user'
          ? { role: 'user', content: message.content }
          : { role: 'assistant', content: message.content, toolCalls: [] },
      );

export const nudgeMessages = (nudge: Nudge | null): Message[] =>
  nudge === null ? [] : [{ role: 'user', content: NUDGES[nudge] }];

/**
 * What a finished turn adds: the answer and the tool results in call order, whatever order they arrived
 * in (Replay). An answer with nothing in it adds nothing: providers refuse empty messages.
 */
export const turnMessages = (step: LlmStep, contents: Contents): Message[] => {
  if (step.outputRef === null) return [];
  const answer = contents.answer(step.outputRef);
  if (answer.text === '' && answer.tool_calls.length === 0) return [];
  const results = step.tools.map((tool): Message => {
    const result = tool.resultRef === null ? null : contents.result(tool.resultRef);
    return {
      role: 'tool',
      callId: tool.callId,
      content: result?.text ?? '',
      isError: result?.is_error ?? true,
    };
  });
  return [{ role: 'assistant', content: answer.text, toolCalls: answer.tool_calls }, ...results];
};

/** Everything said before the model call that comes next, or that is open now. */
export const conversationOf = (state: RunState, input: RunInput, contents: Contents): Message[] => {
  const messages = openingMessages(input);
  for (const step of state.steps) {
    if (step.kind !== 'llm') continue;
    messages.push(...nudgeMessages(lastAttempt(step).nudge));
    if (step.status === 'completed') messages.push(...turnMessages(step, contents));
  }
  return messages;
};
