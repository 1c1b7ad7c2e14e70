import type { AnswerContent, ModelAnswer } from '@signalbox/contracts';
import type { RunContext } from '../run/run-context.ts';

const MAX_ID = 128;

/**
 * Providers must give each call its own id; where one does not, ours keeps results apart. Ids go into events
 * and into the Idempotency-Key header, so they are short and plain.
 */
export const distinctCalls = (
  { redactor, session }: RunContext,
  answer: ModelAnswer,
): AnswerContent['tool_calls'] => {
  const seen = new Set<string>();
  /** Where to look for the next free number of an id. */
  const free = new Map<string, number>();
  // One more than the run may make is enough to say that it wants too many.
  return answer.toolCalls.slice(0, session.state.limits.max_steps + 1).map((call, index) => {
    const plain = redactor
      .text(call.id)
      .replaceAll(/[^\w.:-]/g, '_')
      .slice(0, MAX_ID);
    let id = plain;
    let n = free.get(plain) ?? index;
    for (; id === '' || seen.has(id); n += 1) id = `${plain}_${n}`;
    free.set(plain, n);
    seen.add(id);
    return { ...call, id };
  });
};
