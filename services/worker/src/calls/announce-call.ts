/**
 * Before a model is called: the worst case is held in every scope and the call is announced, in one write
 * (R1, R3).
 */
import type { CapScope, EventDraft, Price, ProviderKey } from '@signalbox/contracts';
import { type CallModel, loopsTripped, modelRequested } from '@signalbox/engine';
import type { Prepared } from '../run/conversation.ts';
import { onDeniedHold } from './denied-hold.ts';
import { failRun, parkUnderPressure } from '../end/endings.ts';
import { costDenied, type Offer, offerFor } from './offer.ts';
import type { RunContext } from '../run/run-context.ts';

/** What is to be sent, and with which key. */
export interface Prospect {
  readonly prepared: Prepared;
  readonly key: ProviderKey | null;
}

const requested = (
  context: RunContext,
  action: CallModel,
  { prepared, key }: Prospect,
  offer: Offer,
): EventDraft =>
  modelRequested(action, context.spec, {
    max_output_tokens: offer.maxOutputTokens,
    input_bound: prepared.inputBound,
    request_digest: prepared.digest,
    hold: offer.hold,
    provider_key: key === null ? undefined : { source: key.source, id: key.id },
  });

const failUnpriced = async (context: RunContext, action: CallModel): Promise<void> => {
  await failRun(
    context,
    'price_unknown',
    `The price of ${action.model} is not known, so it cannot be called. Set a price or use another model.`,
    { step: action.step, before: [costDenied(action, null, { code: 'price_unknown' })] },
  );
};

const failWithoutTool = async (context: RunContext, action: CallModel, name: string): Promise<void> => {
  await failRun(
    context,
    'tool_error',
    `The agent may use the tool ${name}, which this version of Signalbox does not have. Publish the agent without it.`,
    { step: action.step },
  );
};

/** More than the window of any model: what is longer only fills the memory of all it passes. */
const MOST_INPUT_TOKENS = 10_000_000;

const failTooLong = async (context: RunContext, action: CallModel, inputBound: number): Promise<void> => {
  await failRun(
    context,
    'context_too_long',
    `The conversation may have ${inputBound} tokens, and no model takes more than ${MOST_INPUT_TOKENS}. Give the agent less to do, or tools that answer shorter.`,
    { step: action.step },
  );
};

const failUncapped = async (
  context: RunContext,
  action: CallModel,
  { hold }: Offer,
  scope: CapScope | null,
): Promise<void> => {
  await failRun(
    context,
    'cap_missing',
    `The scope ${scope ?? ''} has no cap, so nothing may be spent. Set one (null for none).`,
    { step: action.step, before: [costDenied(action, hold, { code: 'cap_missing', scope })] },
  );
};

export interface Announced {
  readonly offer: Offer;
  readonly price: Price;
  /** Upper bound of the input in tokens. */
  readonly inputBound: number;
}

/** With the largest limit that fits. */
const announceLargest = async (
  context: RunContext,
  action: CallModel,
  prospect: Prospect,
  price: Price,
): Promise<Announced | null> => {
  const { session } = context;
  const { prepared } = prospect;
  const today = await context.days.today(context, session.state.knownTime);
  // Of before the hold was asked for: a wake that came since has its note still in the inbox.
  const wakeSeq = session.parkSeq();
  let maxOutputTokens: number | null = session.state.limits.max_output_tokens;
  while (maxOutputTokens !== null) {
    const offer = offerFor(context, action, { price, prepared, maxOutputTokens, day: today.day });
    const drafts = [...loopsTripped(session.state), requested(context, action, prospect, offer)];
    const reply = await session.announce(drafts, { hold: offer.hold });
    if (reply.code === 'OK') return { offer, price, inputBound: prepared.inputBound };
    if (reply.code === 'CAP_MISSING') await failUncapped(context, action, offer, reply.missing);
    if (reply.code === 'PRESSURE') await parkUnderPressure(context, wakeSeq);
    if (reply.code !== 'DENIED') return null; // or an abort or a wake: the loop looks again
    maxOutputTokens = await onDeniedHold(context, action, { offer, price, prepared, reply, today, wakeSeq });
  }
  return null;
};

/** Announces the call. Null: it does not happen, and the journal says why. */
export const announceCall = async (
  context: RunContext,
  action: CallModel,
  prospect: Prospect,
): Promise<Announced | null> => {
  const price = context.prices.priceOf(action.model);
  const { inputBound } = prospect.prepared;
  const { missingTool } = context;
  if (missingTool !== null) await failWithoutTool(context, action, missingTool);
  else if (price === null) await failUnpriced(context, action);
  else if (inputBound > MOST_INPUT_TOKENS) await failTooLong(context, action, inputBound);
  else return await announceLargest(context, action, prospect, price);
  return null;
};
