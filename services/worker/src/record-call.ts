import {
  type AnswerContent,
  type ModelAnswer,
  type ModelError,
  NO_USAGE,
  type Settlement,
} from '@signalbox/contracts';
import { argsDigest, type CallModel, decideRetry, withoutQuotes } from '@signalbox/engine';
import { backoffMs, wellFormed } from '@signalbox/runtime';
import type { Announced } from './announce-call.ts';
import { type Charge, chargeOfAnswer, chargeOfFailure } from './charge.ts';
import type { Prepared } from './conversation.ts';
import type { RunContext } from './run-context.ts';
import type { StopReason } from './stop.ts';

/** After a model was called: what it gave and what it cost, in one record (R2). */
const RETRY_BACKOFF = { baseMs: 500, capMs: 8000, random: Math.random };

const settlement = ({ offer }: Announced, { nano, estimated }: Charge): Settlement | null =>
  offer.hold === null ? null : { hold_id: offer.hold.id, observed_nano: nano, estimated };

const settlementsOf = (settled: Settlement | null) =>
  settled === null ? [] : [{ holdId: settled.hold_id, observedNano: settled.observed_nano, expired: false }];

const MAX_ID = 128;

/**
 * Providers must give each call its own id; where one does not, ours keeps results apart. Ids go into events
 * and into the Idempotency-Key header, so they are short and plain.
 */
const distinctCalls = (
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

/** What a provider says of itself, fit for an event: the audit store holds no NUL and no half characters. */
const told = ({ redactor }: RunContext, text: string, maxChars: number): string =>
  wellFormed(redactor.text(text).slice(0, maxChars));

/** A name that is none of the agent's tools is the model's own words: it stands in the sealed answer alone (R13). */
const UNKNOWN_TOOL = 'unknown';

const MAX_MODEL = 200;
const MAX_REQUEST_ID = 200;
const MAX_MESSAGE = 500;

export const recordAnswer = (
  context: RunContext,
  action: CallModel,
  announced: Announced,
  ended: { answer: ModelAnswer; ms: number; outputValid: boolean },
): void => {
  const { session } = context;
  const { answer, ms, outputValid } = ended;
  const content: AnswerContent = {
    text: wellFormed(answer.text),
    tool_calls: distinctCalls(context, answer),
  };
  const sealed = session.seal(content);
  const charge = chargeOfAnswer(context, announced, answer);
  const settled = settlement(announced, charge);
  session.record(
    [
      {
        type: 'llm.completed',
        refs: { output: sealed[0] },
        data: {
          step: action.step,
          attempt: action.attempt,
          model: action.model,
          model_served: told(context, answer.modelServed, MAX_MODEL),
          settlement: settled,
          usage: charge.usage ?? NO_USAGE,
          duration_ms: ms,
          finish_reason: answer.finishReason,
          tool_calls: content.tool_calls.map((call) => ({
            call_id: call.id,
            name: context.toolNames.includes(call.name) ? call.name : UNKNOWN_TOOL,
            args_digest: argsDigest(call, (text) => session.digest(text)),
          })),
          output_valid: outputValid,
          has_text: answer.text.trim() !== '',
          provider_request_id:
            answer.providerRequestId === null
              ? null
              : told(context, answer.providerRequestId, MAX_REQUEST_ID),
        },
      },
    ],
    { contents: [sealed], settlements: settlementsOf(settled), progress: true },
  );
  context.conversation.completed(action.model, charge.usage);
  context.metrics.callEnded(action.model, {
    outcome: 'ok',
    ms,
    usage: charge.usage,
    observedNano: settled?.observed_nano ?? 0,
  });
};

/** However long a provider asks us to stay away. */
const LONGEST_RETRY_MS = 3_600_000;

const CUT_OFF = 'The worker had to stop before the answer ended; the call is made again by another one.';
const OUT_OF_TIME = "the run's time limit came before the end of the answer; raise limits.timeout_seconds";

/** All that the provider was sent and may quote. */
const sentIn = ({ spec }: RunContext, { messages }: Prepared): string[] => [
  spec.instructions,
  JSON.stringify(spec.output_schema),
  ...messages.flatMap((message) => [
    message.content,
    ...(message.role === 'assistant' ? message.toolCalls.map((call) => call.arguments) : []),
  ]),
];

const messageOf = (
  context: RunContext,
  { error, prepared, stop }: { error: ModelError; prepared: Prepared; stop: StopReason | null },
): string => {
  if (stop === 'timeout') return OUT_OF_TIME;
  if (stop === 'worker_stopped') return CUT_OFF;
  return told(context, withoutQuotes(error.message, sentIn(context, prepared)), MAX_MESSAGE);
};

const stoppedFor = (stop: StopReason | null): 'for_run' | 'for_worker' | null => {
  if (stop === null) return null;
  return stop === 'worker_stopped' ? 'for_worker' : 'for_run';
};

const retryDelayMs = (context: RunContext, error: ModelError): number =>
  Math.min(
    error.retryAfterMs ?? backoffMs(context.session.state.failures + 1, RETRY_BACKOFF),
    LONGEST_RETRY_MS,
  );

export const recordFailure = (
  context: RunContext,
  action: CallModel,
  announced: Announced,
  ended: { error: ModelError; prepared: Prepared; ms: number; stop: StopReason | null },
): void => {
  const { session, clock, metrics } = context;
  const { error, ms, stop } = ended;
  const charge = chargeOfFailure(context, announced, error);
  const settled = settlement(announced, charge);
  const stopped = stoppedFor(stop);
  const awayMs = error.retryAfterMs ?? 0;
  const decision = decideRetry(session.state, { retryable: error.retryable, awayMs, stopped });
  const code = stop === null ? error.code : stop;
  const retryAt =
    decision === 'retry' && stopped === null
      ? new Date(clock.now() + retryDelayMs(context, error)).toISOString()
      : null;
  session.record(
    [
      {
        type: 'llm.failed',
        data: {
          step: action.step,
          attempt: action.attempt,
          model: action.model,
          settlement: settled,
          usage: charge.usage ?? NO_USAGE,
          duration_ms: ms,
          code,
          message: messageOf(context, ended),
          http_status: error.httpStatus,
          decision,
          retry_at: retryAt,
        },
      },
    ],
    { settlements: settlementsOf(settled), progress: true },
  );
  if (stop === 'worker_stopped' && error.billed !== 'none') metrics.duplicateAttempts.inc();
  metrics.callEnded(action.model, {
    outcome: code,
    ms,
    usage: charge.usage,
    observedNano: settled?.observed_nano ?? 0,
  });
};
