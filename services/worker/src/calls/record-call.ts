import {
  type AnswerContent,
  type EventData,
  type EventDraft,
  type ModelAnswer,
  type ModelError,
  NO_USAGE,
  type SealedContent,
  type Settlement,
} from '@signalbox/contracts';
import { argsDigest, type CallModel, decideRetry, withoutQuotes } from '@signalbox/engine';
import { backoffMs, wellFormed } from '@signalbox/runtime';
import type { Announced } from './announce-call.ts';
import { type Charge, chargeOfAnswer, chargeOfFailure } from './charge.ts';
import type { Prepared } from '../run/conversation.ts';
import { distinctCalls } from './distinct-calls.ts';
import type { RunContext } from '../run/run-context.ts';
import type { StopReason } from '../run/stop.ts';

/** After a model was called: what it gave and what it cost, in one record (R2). */

const RETRY_BACKOFF = { baseMs: 500, capMs: 8000, random: Math.random };

/** What a call is charged, and the settlement that says so; none where nothing was held. */
interface Settled {
  readonly charge: Charge;
  readonly settlement: Settlement | null;
}

const settle = ({ offer: { hold } }: Announced, charge: Charge): Settled => {
  const { nano, estimated } = charge;
  return { charge, settlement: hold === null ? null : { hold_id: hold.id, observed_nano: nano, estimated } };
};

/** Writes the event and the settlement at once (R2); what is charged is counted when that is done. */
const record = (
  context: RunContext,
  { event, contents = [] }: { event: EventDraft; contents?: readonly SealedContent[] },
  { charge, settlement }: Settled,
  call: { model: string; outcome: string; ms: number },
): void => {
  const observedNano = settlement?.observed_nano ?? 0;
  const settlements =
    settlement === null ? [] : [{ holdId: settlement.hold_id, observedNano, expired: false }];
  const { session, metrics } = context;
  const { model, outcome, ms } = call;
  const onWritten = (): void => metrics.charged(model, observedNano);
  session.record([event], { contents, settlements, progress: true, onWritten });
  metrics.callEnded(model, { outcome, ms, usage: charge.usage });
};

/** What a provider says of itself, fit for an event: the audit store holds no NUL and no half characters. */
const told = ({ redactor }: RunContext, text: string, maxChars: number): string =>
  wellFormed(redactor.text(text).slice(0, maxChars));

/** A name that is none of the agent's tools is the model's own words: it stands in the sealed answer alone (R13). */
const UNKNOWN_TOOL = 'unknown';

const MAX_MODEL = 200;
const MAX_REQUEST_ID = 200;
const MAX_MESSAGE = 500;

interface Answered {
  readonly answer: ModelAnswer;
  readonly ms: number;
  readonly outputValid: boolean;
}

const completed = (
  context: RunContext,
  { step, attempt, model }: CallModel,
  { answer, ms, outputValid }: Answered,
  written: { toolCalls: AnswerContent['tool_calls']; ref: string } & Settled,
): EventDraft => ({
  type: 'llm.completed',
  refs: { output: written.ref },
  data: {
    step,
    attempt,
    model,
    model_served: told(context, answer.modelServed, MAX_MODEL),
    settlement: written.settlement,
    usage: written.charge.usage ?? NO_USAGE,
    duration_ms: ms,
    finish_reason: answer.finishReason,
    tool_calls: written.toolCalls.map((call) => ({
      call_id: call.id,
      name: context.toolNames.includes(call.name) ? call.name : UNKNOWN_TOOL,
      args_digest: argsDigest(call, (text) => context.session.contents.digest(text)),
    })),
    output_valid: outputValid,
    has_text: answer.text.trim() !== '',
    provider_request_id:
      answer.providerRequestId === null ? null : told(context, answer.providerRequestId, MAX_REQUEST_ID),
  },
});

export const recordAnswer = (
  context: RunContext,
  action: CallModel,
  announced: Announced,
  answered: Answered,
): void => {
  const { answer, ms } = answered;
  const toolCalls = distinctCalls(context, answer);
  const content: AnswerContent = { text: wellFormed(answer.text), tool_calls: toolCalls };
  const sealed = context.session.contents.seal(content);
  const settled = settle(announced, chargeOfAnswer(context, announced, answer));
  const event = completed(context, action, answered, { ...settled, toolCalls, ref: sealed[0] });
  const { model } = action;
  record(context, { event, contents: [sealed] }, settled, { model, outcome: 'ok', ms });
  context.conversation.completed(model, settled.charge.usage);
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
  const { step, attempt, model } = action;
  const { error, ms, stop } = ended;
  const settled = settle(announced, chargeOfFailure(context, announced, error));
  const stopped = stoppedFor(stop);
  const awayMs = error.retryAfterMs ?? 0;
  const decision = decideRetry(session.state, { retryable: error.retryable, awayMs, stopped });
  const code = stop ?? error.code;
  const retries = decision === 'retry' && stopped === null;
  const data: EventData<'llm.failed'> = {
    step,
    attempt,
    model,
    settlement: settled.settlement,
    usage: settled.charge.usage ?? NO_USAGE,
    duration_ms: ms,
    code,
    message: messageOf(context, ended),
    http_status: error.httpStatus,
    decision,
    retry_at: retries ? new Date(clock.now() + retryDelayMs(context, error)).toISOString() : null,
  };
  record(context, { event: { type: 'llm.failed', data } }, settled, { model, outcome: code, ms });
  if (stop === 'worker_stopped' && error.billed !== 'none') metrics.duplicateAttempts.inc();
};
