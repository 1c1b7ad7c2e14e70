/**
 * Before a model is called: the worst case is held in every scope and the call is announced, in one write
 * (R1, R3). What does not fit is made smaller, waits for others' holds, or fails, as design §6 says.
 */
import {
  type CapScope,
  type EventData,
  type EventDraft,
  type Hold,
  type Price,
  type ProviderKey,
  toUsd,
} from '@signalbox/contracts';
import {
  answerDenial,
  type CallModel,
  loopsTripped,
  modelRequested,
  type TenantDay,
} from '@signalbox/engine';
import { affordableOutputTokens, worstCaseNano } from '@signalbox/providers';
import type { CommitReply } from '@signalbox/run-state';
import type { Prepared } from './conversation.ts';
import { failRun, parkUnderPressure } from './endings.ts';
import type { RunContext } from './run-context.ts';

export interface Offer {
  readonly maxOutputTokens: number;
  readonly hold: Hold | null;
}

const offerFor = (
  context: RunContext,
  action: CallModel,
  terms: { price: Price; prepared: Prepared; maxOutputTokens: number; day: string },
): Offer => {
  const { price, prepared, maxOutputTokens, day } = terms;
  const amount = worstCaseNano({ inputBound: prepared.inputBound, maxOutputTokens }, price);
  const id = `${context.session.runId}:${action.step}:${action.attempt}`;
  return {
    maxOutputTokens,
    hold: amount === 0 ? null : { id, amount_nano: amount, day, price_version: price.version },
  };
};

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

type Denied = EventData<'cost.denied'>;

const denied = (
  action: CallModel,
  offer: Offer,
  rest: Pick<Denied, 'code'> & Partial<Denied>,
): EventDraft => ({
  type: 'cost.denied',
  data: {
    step: action.step,
    scope: null,
    cap_nano: null,
    spent_nano: 0,
    held_nano: 0,
    need_nano: offer.hold?.amount_nano ?? 0,
    resets_at: null,
    ...rest,
  },
});

/** When a scope begins anew; null for one that never does. */
const resetOf = (scope: CapScope, today: TenantDay): string | null => {
  if (scope === 'run') return null;
  return new Date(scope.endsWith('_month') ? today.monthEndsMs : today.dayEndsMs).toISOString();
};

/** The hold did not fit. Returns a smaller limit to try with, or null when the run has parked or failed. */
const onDenied = async (
  context: RunContext,
  action: CallModel,
  offer: Offer,
  terms: { price: Price; prepared: Prepared; reply: CommitReply; today: TenantDay; wakeSeq: number },
): Promise<number | null> => {
  const { price, prepared, reply, today, wakeSeq } = terms;
  const { session, metrics } = context;
  const needNano = offer.hold?.amount_nano ?? 0;
  const answer = answerDenial({
    needNano,
    scopes: reply.scopes,
    maxOutputTokens: offer.maxOutputTokens,
    affordable: (room) => affordableOutputTokens(Math.max(0, room), prepared.inputBound, price),
  });
  if (answer.type === 'shrink') return answer.maxOutputTokens;
  const { scope, capNano, spentNano, heldNano } = answer.scope;
  metrics.costDenied.inc({ scope });
  const resetsAt = resetOf(scope, today);
  const event = denied(action, offer, {
    code: 'cost_cap_exceeded',
    scope,
    cap_nano: capNano,
    spent_nano: spentNano,
    held_nano: heldNano,
    resets_at: resetsAt,
  });
  if (answer.type === 'park') {
    // Settlements wake it, in its turn. By itself it looks only when the scope begins anew: any sooner, all that
    // wait would look at once, again and again.
    const dueMs = resetsAt === null ? null : Date.parse(resetsAt);
    const { maxOutputTokens } = answer;
    const waited = offerFor(context, action, { price, prepared, maxOutputTokens, day: today.day });
    await session.announce([event, { type: 'run.parked', data: { reason: 'capacity', until: null } }], {
      after: {
        type: 'park',
        reason: 'capacity',
        wakeSeq,
        dueMs,
        capacity: { scope, needNano: waited.hold?.amount_nano ?? 0, day: today.day },
      },
    });
    return null;
  }
  await failRun(
    context,
    'cost_cap_exceeded',
    `The ${scope} cap of $${toUsd(capNano)} has $${toUsd(spentNano)} spent and $${toUsd(heldNano)} held; step ${action.step} needs $${toUsd(needNano)}.${resetsAt === null ? ' Raise the cap.' : ` It resets at ${resetsAt}.`}`,
    {
      step: action.step,
      before: [event],
      details: {
        scope,
        cap_nano: capNano,
        spent_nano: spentNano,
        held_nano: heldNano,
        need_nano: needNano,
        resets_at: resetsAt,
      },
    },
  );
  return null;
};

export interface Announced {
  readonly offer: Offer;
  readonly price: Price;
  /** Upper bound of the input in tokens. */
  readonly inputBound: number;
}

/** More than the window of any model: what is longer only fills the memory of all it passes. */
const MOST_INPUT_TOKENS = 10_000_000;

/** Announces the call with the largest limit that fits. Null: it does not happen, and the journal says why. */
export const announceCall = async (
  context: RunContext,
  action: CallModel,
  prospect: Prospect,
): Promise<Announced | null> => {
  const { prepared } = prospect;
  const price = context.prices.priceOf(action.model);
  const free: Offer = { maxOutputTokens: 1, hold: null };
  if (price === null) {
    await failRun(
      context,
      'price_unknown',
      `The price of ${action.model} is not known, so it cannot be called. Set a price or use another model.`,
      {
        step: action.step,
        before: [denied(action, free, { code: 'price_unknown' })],
      },
    );
    return null;
  }
  if (prepared.inputBound > MOST_INPUT_TOKENS) {
    await failRun(
      context,
      'context_too_long',
      `The conversation may have ${prepared.inputBound} tokens, and no model takes more than ${MOST_INPUT_TOKENS}. Give the agent less to do, or tools that answer shorter.`,
      { step: action.step },
    );
    return null;
  }
  const today = await context.days.today(context, context.session.state.knownTime);
  // Of before the hold was asked for: a wake that came since has its note still in the inbox.
  const wakeSeq = context.session.parkSeq();
  let maxOutputTokens: number | null = context.session.state.limits.max_output_tokens;
  while (maxOutputTokens !== null) {
    const offer = offerFor(context, action, { price, prepared, maxOutputTokens, day: today.day });
    const drafts = [...loopsTripped(context.session.state), requested(context, action, prospect, offer)];
    const reply = await context.session.announce(drafts, { hold: offer.hold });
    if (reply.code === 'OK') return { offer, price, inputBound: prepared.inputBound };
    if (reply.code === 'CAP_MISSING') {
      await failRun(
        context,
        'cap_missing',
        `The scope ${reply.missing ?? ''} has no cap, so nothing may be spent. Set one (null for none).`,
        {
          step: action.step,
          before: [denied(action, offer, { code: 'cap_missing', scope: reply.missing })],
        },
      );
      return null;
    }
    if (reply.code === 'PRESSURE') {
      await parkUnderPressure(context, wakeSeq);
      return null;
    }
    if (reply.code !== 'DENIED') return null; // an abort or a wake: the loop looks again
    maxOutputTokens = await onDenied(context, action, offer, { price, prepared, reply, today, wakeSeq });
  }
  return null;
};
