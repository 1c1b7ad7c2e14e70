import type { EventData, EventDraft, Hold, Price } from '@signalbox/contracts';
import type { CallModel } from '@signalbox/engine';
import { worstCaseNano } from '@signalbox/providers';
import type { Prepared } from '../run/conversation.ts';
import type { RunContext } from '../run/run-context.ts';

/** How long an answer may be, and the hold of what that costs at worst. */
export interface Offer {
  readonly maxOutputTokens: number;
  readonly hold: Hold | null;
}

export interface OfferTerms {
  readonly price: Price;
  readonly prepared: Prepared;
  readonly maxOutputTokens: number;
  /** The day the hold counts for. */
  readonly day: string;
}

export const offerFor = (
  context: RunContext,
  action: CallModel,
  { price, prepared, maxOutputTokens, day }: OfferTerms,
): Offer => {
  const amount = worstCaseNano({ inputBound: prepared.inputBound, maxOutputTokens }, price);
  const id = `${context.session.runId}:${action.step}:${action.attempt}`;
  return {
    maxOutputTokens,
    hold: amount === 0 ? null : { id, amount_nano: amount, day, price_version: price.version },
  };
};

type Denied = EventData<'cost.denied'>;

/** The event of a call that is not made for the sake of its cost. */
export const costDenied = (
  { step }: CallModel,
  hold: Hold | null,
  rest: Pick<Denied, 'code'> & Partial<Denied>,
): EventDraft => ({
  type: 'cost.denied',
  data: {
    step,
    scope: null,
    cap_nano: null,
    spent_nano: 0,
    held_nano: 0,
    need_nano: hold?.amount_nano ?? 0,
    resets_at: null,
    ...rest,
  },
});
