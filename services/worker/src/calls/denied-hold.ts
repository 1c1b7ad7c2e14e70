/** A hold that did not fit: the call is made smaller, waits for others' holds, or fails (Money). */
import { type CapScope, type Nano, type Price, toUsd } from '@signalbox/contracts';
import { answerDenial, type CallModel, type ScopeRoom, type TenantDay } from '@signalbox/engine';
import { affordableOutputTokens } from '@signalbox/providers';
import type { CommitReply } from '@signalbox/run-state';
import type { Prepared } from '../run/conversation.ts';
import { failRun } from '../end/endings.ts';
import { costDenied, type Offer, offerFor } from './offer.ts';
import type { RunContext } from '../run/run-context.ts';

export interface DeniedOffer {
  readonly offer: Offer;
  readonly price: Price;
  readonly prepared: Prepared;
  readonly reply: CommitReply;
  readonly today: TenantDay;
  readonly wakeSeq: number;
}

/** When a scope begins anew; null for one that never does. */
const resetOf = (scope: CapScope, today: TenantDay): string | null => {
  if (scope === 'run') return null;
  return new Date(scope.endsWith('_month') ? today.monthEndsMs : today.dayEndsMs).toISOString();
};

/** What the event and the run's error tell of a scope without room. */
type Figures = ReturnType<typeof figuresOf>;

const figuresOf = (room: ScopeRoom, needNano: Nano, today: TenantDay) => ({
  scope: room.scope,
  cap_nano: room.capNano,
  spent_nano: room.spentNano,
  held_nano: room.heldNano,
  need_nano: needNano,
  resets_at: resetOf(room.scope, today),
});

/** Until others' holds have made room for an answer of `maxOutputTokens`. */
const parkForRoom = async (
  context: RunContext,
  action: CallModel,
  { price, prepared, today, wakeSeq, offer }: DeniedOffer,
  { figures, maxOutputTokens }: { figures: Figures; maxOutputTokens: number },
): Promise<void> => {
  const { scope, resets_at } = figures;
  // Settlements wake it, in its turn. By itself it looks only when the scope begins anew: any sooner, all that
  // wait would look at once, again and again.
  const dueMs = resets_at === null ? null : Date.parse(resets_at);
  const { hold } = offerFor(context, action, { price, prepared, maxOutputTokens, day: today.day });
  await context.session.announce(
    [
      costDenied(action, offer.hold, { code: 'cost_cap_exceeded', ...figures }),
      { type: 'run.parked', data: { reason: 'capacity', until: null } },
    ],
    {
      after: {
        type: 'park',
        reason: 'capacity',
        wakeSeq,
        dueMs,
        capacity: { scope, needNano: hold?.amount_nano ?? 0, day: today.day },
      },
    },
  );
};

const messageOf = ({ scope, cap_nano, spent_nano, held_nano, need_nano, resets_at }: Figures, step: number) =>
  `The ${scope} cap of $${toUsd(cap_nano)} has $${toUsd(spent_nano)} spent and $${toUsd(held_nano)} held; step ${step} needs $${toUsd(need_nano)}.${resets_at === null ? ' Raise the cap.' : ` It resets at ${resets_at}.`}`;

const failForRoom = async (
  context: RunContext,
  action: CallModel,
  { offer }: DeniedOffer,
  figures: Figures,
): Promise<void> => {
  await failRun(context, 'cost_cap_exceeded', messageOf(figures, action.step), {
    step: action.step,
    before: [costDenied(action, offer.hold, { code: 'cost_cap_exceeded', ...figures })],
    details: figures,
  });
};

/** Returns a smaller limit to try with, or null when the run has parked or failed. */
export const onDeniedHold = async (
  context: RunContext,
  action: CallModel,
  denied: DeniedOffer,
): Promise<number | null> => {
  const { offer, price, prepared, reply, today } = denied;
  const needNano = offer.hold?.amount_nano ?? 0;
  const answer = answerDenial({
    needNano,
    scopes: reply.scopes,
    maxOutputTokens: offer.maxOutputTokens,
    affordable: (room) => affordableOutputTokens(Math.max(0, room), prepared.inputBound, price),
  });
  if (answer.type === 'shrink') return answer.maxOutputTokens;
  context.metrics.costDenied.inc({ scope: answer.scope.scope });
  const figures = figuresOf(answer.scope, needNano, today);
  if (answer.type === 'fail') await failForRoom(context, action, denied, figures);
  else await parkForRoom(context, action, denied, { figures, maxOutputTokens: answer.maxOutputTokens });
  return null;
};
