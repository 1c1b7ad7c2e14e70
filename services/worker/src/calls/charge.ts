import { type ModelAnswer, type ModelError, type Nano, NO_USAGE, type Usage } from '@signalbox/contracts';
import { costNano, plausibleUsage } from '@signalbox/providers';
import type { Announced } from './announce-call.ts';
import type { RunContext } from '../run/run-context.ts';

/** What a call is charged in the end (Money). */
export interface Charge {
  readonly nano: Nano;
  /** The usage was not told, or cannot be true. */
  readonly estimated: boolean;
  /** As the provider told it; null when it told none that can be true. */
  readonly usage: Usage | null;
}

/** What the provider told, unless it cannot be true: then nothing of it gets into journals, caps or metrics. */
const believed = (
  { logger, session }: RunContext,
  { offer, inputBound }: Announced,
  told: Usage | null,
): Usage | null => {
  if (told === null) return null;
  const usage = plausibleUsage(told, { inputBound, maxOutputTokens: offer.maxOutputTokens });
  if (usage === null) {
    logger.warn('a provider told a usage that cannot be true: the call is charged without it', {
      run_id: session.runId,
      usage: told,
      input_bound: inputBound,
      max_output_tokens: offer.maxOutputTokens,
    });
  }
  return usage;
};

const holdNano = ({ offer }: Announced): Nano => offer.hold?.amount_nano ?? 0;

/** What a gateway fills in that did not count: every request has input, and what is written is output. */
const isFiller = ({ input_tokens, output_tokens }: Usage, { text, toolCalls }: ModelAnswer): boolean =>
  input_tokens === 0 || (output_tokens === 0 && (text !== '' || toolCalls.length > 0));

/** Prices of one model differ less. What is beyond is no price, and is not believed any more than such a usage. */
const MOST_TIMES_THE_HOLD = 100;

/** What the provider says that the call cost, which may be more than the catalogue knows of. */
const toldNano = (
  { logger, session }: RunContext,
  announced: Announced,
  { costNano = 0 }: ModelAnswer,
): Nano => {
  if (costNano <= MOST_TIMES_THE_HOLD * holdNano(announced)) return costNano;
  logger.warn('a provider told a cost that cannot be true: the call is charged without it', {
    run_id: session.runId,
    cost_nano: costNano,
    hold_nano: holdNano(announced),
  });
  return 0;
};

export const chargeOfAnswer = (context: RunContext, announced: Announced, answer: ModelAnswer): Charge => {
  const told = answer.usage === null || isFiller(answer.usage, answer) ? null : answer.usage;
  const usage = believed(context, announced, told);
  const least = toldNano(context, announced, answer);
  return usage === null
    ? { nano: Math.max(least, holdNano(announced)), estimated: true, usage }
    : { nano: Math.max(least, costNano(usage, announced.price)), estimated: false, usage };
};

/** Of a broken call: nothing only when the provider certainly did nothing (Abort). */
export const chargeOfFailure = (context: RunContext, announced: Announced, error: ModelError): Charge => {
  if (error.billed === 'none') return { nano: 0, estimated: false, usage: null };
  if (error.billed === 'unknown') return { nano: holdNano(announced), estimated: true, usage: null };
  const usage = believed(context, announced, error.usage);
  const seen = usage ?? NO_USAGE;
  // All of it was streamed, and a token covers at least one byte: the bytes received bound what was generated.
  const received = Math.min(announced.offer.maxOutputTokens, error.outputBytes);
  const most: Usage = {
    ...seen,
    input_tokens: seen.input_tokens > 0 ? seen.input_tokens : announced.inputBound,
    output_tokens: Math.max(seen.output_tokens, received),
  };
  // More than was held only where the provider told so, as of an answer.
  return { nano: costNano(most, announced.price), estimated: true, usage };
};
