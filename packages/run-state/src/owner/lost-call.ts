import { type EventDraft, type Hold, NO_USAGE } from '@signalbox/contracts';
import type { CommitSettlement } from './commit.ts';

/** A model call that was announced, and whose result went with its worker. */
export interface LostCall {
  readonly step: number;
  readonly attempt: number;
  readonly model: string;
  /** Null: it is free. */
  readonly hold: Pick<Hold, 'id' | 'amount_nano'> | null;
}

/** A lost call that holds money. */
export interface HeldCall extends LostCall {
  readonly hold: NonNullable<LostCall['hold']>;
}

const failed = ({ step, attempt, model }: LostCall): EventDraft => ({
  type: 'llm.failed',
  data: {
    step,
    attempt,
    model,
    settlement: null,
    usage: NO_USAGE,
    duration_ms: 0,
    code: 'worker_lost',
    message: 'The worker was lost during the call.',
    http_status: null,
    decision: 'retry',
    retry_at: null,
  },
});

const expired = ({ step, attempt, model, hold }: HeldCall): EventDraft => ({
  type: 'cost.expired',
  data: {
    step,
    attempt,
    model,
    settlement: { hold_id: hold.id, observed_nano: hold.amount_nano, estimated: true },
  },
});

const isHeld = (call: LostCall): call is HeldCall => call.hold !== null;

/**
 * Each ends in the journal; those that hold money are charged whole, since nobody knows what they cost (Money):
 * the events, and the settlements that go with them (R2).
 */
export const chargeLost = (
  calls: readonly LostCall[],
): { readonly drafts: readonly EventDraft[]; readonly settlements: readonly CommitSettlement[] } => ({
  drafts: calls.map((call) => (isHeld(call) ? expired(call) : failed(call))),
  settlements: calls
    .filter(isHeld)
    .map(({ hold }) => ({ holdId: hold.id, observedNano: hold.amount_nano, expired: true })),
});
