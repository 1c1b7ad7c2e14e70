import type { EventDraft, Hold } from '@signalbox/contracts';
import type { CommitSettlement } from './commit.ts';

/** A model call that was announced, and whose result went with its worker. */
export interface LostCall {
  readonly step: number;
  readonly attempt: number;
  readonly model: string;
  readonly hold: Pick<Hold, 'id' | 'amount_nano'>;
}

/** Charged whole, since nobody knows what they cost (R1): the events, and the settlements that go with them (R2). */
export const chargeLost = (
  calls: readonly LostCall[],
): { readonly drafts: readonly EventDraft[]; readonly settlements: readonly CommitSettlement[] } => ({
  drafts: calls.map(({ step, attempt, model, hold }) => ({
    type: 'cost.expired',
    data: {
      step,
      attempt,
      model,
      settlement: { hold_id: hold.id, observed_nano: hold.amount_nano, estimated: true },
    },
  })),
  settlements: calls.map(({ hold }) => ({ holdId: hold.id, observedNano: hold.amount_nano, expired: true })),
});
