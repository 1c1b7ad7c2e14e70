import {
  type AnswerContent,
  type ModelAnswer,
  type ModelError,
  type Nano,
  NO_USAGE,
  type Settlement,
  type Usage,
} from '@signalbox/contracts';
import { decideRetry, redactText } from '@signalbox/engine';
import { costNano } from '@signalbox/providers';
import { backoffMs, wellFormed } from '@signalbox/runtime';
import type { Announced, Offer } from './announce-call.ts';
import type { CallModel, Prepared } from './conversation.ts';
import type { RunContext } from './run-context.ts';
import type { StopReason } from './stop.ts';

/** After a model was called: what it gave and what it cost, in one record (R2). */
const RETRY_BACKOFF = { baseMs: 500, capMs: 8000, random: Math.random };

const settlement = (offer: Offer, observedNano: Nano, estimated: boolean): Settlement | null =>
  offer.hold === null ? null : { hold_id: offer.hold.id, observed_nano: observedNano, estimated };

const settlementsOf = (settled: Settlement | null) =>
  settled === null ? [] : [{ holdId: settled.hold_id, observedNano: settled.observed_nano, expired: false }];

const MAX_ID = 128;

/**
 * Providers must give each call its own id; where one does not, ours keeps results apart. Ids go into events
 * and into the Idempotency-Key header, so they are short and plain.
 */
const distinctCalls = (answer: ModelAnswer): AnswerContent['tool_calls'] => {
  const seen = new Set<string>();
  return answer.toolCalls.map((call, index) => {
    const plain = call.id.replaceAll(/[^\w.:-]/g, '_').slice(0, MAX_ID);
    let id = plain;
    for (let n = index; id === '' || seen.has(id); n += 1) id = `${plain}_${n}`;
    seen.add(id);
    return { ...call, id };
  });
};

/** What a provider says of itself, fit for an event: the audit store holds no NUL and no half characters. */
const told = (text: string, maxChars: number): string => wellFormed(text.slice(0, maxChars));

const MAX_NAME = 64;
const MAX_MODEL = 200;
const MAX_REQUEST_ID = 200;
const MAX_MESSAGE = 500;

export const recordAnswer = (
  context: RunContext,
  action: CallModel,
  announced: Announced,
  ended: { answer: ModelAnswer; ms: number },
): void => {
  const { session } = context;
  const { answer, ms } = ended;
  const { offer, price } = announced;
  const content: AnswerContent = { text: wellFormed(answer.text), tool_calls: distinctCalls(answer) };
  const sealed = session.seal(content);
  const settled =
    answer.usage === null
      ? settlement(offer, offer.hold?.amount_nano ?? 0, true)
      : settlement(offer, costNano(answer.usage, price), false);
  session.record(
    [
      {
        type: 'llm.completed',
        refs: { output: sealed[0] },
        data: {
          step: action.step,
          attempt: action.attempt,
          model: action.model,
          model_served: told(answer.modelServed, MAX_MODEL),
          settlement: settled,
          usage: answer.usage ?? NO_USAGE,
          duration_ms: ms,
          finish_reason: answer.finishReason,
          tool_calls: content.tool_calls.map((call) => ({
            call_id: call.id,
            name: told(call.name, MAX_NAME),
            args_digest: session.digest(`${call.name}\n${call.arguments}`),
          })),
          output_valid: content.tool_calls.length > 0 || context.outputValid(answer.text),
          has_text: answer.text.trim() !== '',
          provider_request_id:
            answer.providerRequestId === null ? null : told(answer.providerRequestId, MAX_REQUEST_ID),
        },
      },
    ],
    { contents: [sealed], settlements: settlementsOf(settled), progress: true },
  );
  context.conversation.completed(action.model, answer.usage);
  context.metrics.callEnded(action.model, {
    outcome: 'ok',
    ms,
    usage: answer.usage,
    observedNano: settled?.observed_nano ?? 0,
  });
};

/** What a broken call is charged: nothing only when the provider certainly did nothing (design §5, Abort). */
const chargeOf = (
  error: ModelError,
  announced: Announced,
  prepared: Prepared,
): { nano: Nano; estimated: boolean; usage: Usage } => {
  const { offer, price } = announced;
  const holdNano = offer.hold?.amount_nano ?? 0;
  if (error.billed === 'none') return { nano: 0, estimated: false, usage: NO_USAGE };
  if (error.billed === 'unknown') return { nano: holdNano, estimated: true, usage: NO_USAGE };
  const seen = error.usage ?? NO_USAGE;
  const usage: Usage = {
    ...seen,
    input_tokens: seen.input_tokens > 0 ? seen.input_tokens : prepared.inputBound,
    // A token covers at least one byte, so the bytes received bound what was generated.
    output_tokens: Math.min(offer.maxOutputTokens, Math.max(seen.output_tokens, error.outputBytes)),
  };
  return { nano: Math.min(holdNano, costNano(usage, price)), estimated: true, usage: seen };
};

/** However long a provider asks us to stay away. */
const LONGEST_RETRY_MS = 3_600_000;

const retryDelayMs = (context: RunContext, error: ModelError): number =>
  Math.min(
    error.retryAfterMs ?? backoffMs(context.session.state.failures + 1, RETRY_BACKOFF),
    LONGEST_RETRY_MS,
  );

const OUT_OF_TIME = "the run's time limit came before the end of the answer; raise limits.timeout_seconds";

export const recordFailure = (
  context: RunContext,
  action: CallModel,
  announced: Announced,
  ended: { error: ModelError; prepared: Prepared; ms: number; stop: StopReason | null },
): void => {
  const { session, clock, metrics } = context;
  const { error, prepared, ms, stop } = ended;
  const charge = chargeOf(error, announced, prepared);
  const settled = settlement(announced.offer, charge.nano, charge.estimated);
  const decision = decideRetry(session.state, { retryable: error.retryable, stopped: stop !== null });
  const code = stop === null ? error.code : stop;
  const retryAt =
    decision === 'retry' ? new Date(clock.now() + retryDelayMs(context, error)).toISOString() : null;
  session.record(
    [
      {
        type: 'llm.failed',
        data: {
          step: action.step,
          attempt: action.attempt,
          model: action.model,
          settlement: settled,
          usage: charge.usage,
          duration_ms: ms,
          code,
          message: stop === 'timeout' ? OUT_OF_TIME : told(redactText(error.message), MAX_MESSAGE),
          http_status: error.httpStatus,
          decision,
          retry_at: retryAt,
        },
      },
    ],
    { settlements: settlementsOf(settled), progress: true },
  );
  metrics.callEnded(action.model, {
    outcome: code,
    ms,
    usage: charge.usage,
    observedNano: settled?.observed_nano ?? 0,
  });
};
