import { type AuditRecord, type Hold, type Settlement, splitModelRef } from '@signalbox/contracts';
import type { GoodEntry } from './judge.ts';

/** A row of cost_ledger. Its two halves, hold and settlement, arrive in either order; null until then. */
export interface LedgerRow {
  readonly hold_id: string;
  readonly tenant_id: string;
  readonly user_id: string | null;
  readonly agent: string | null;
  readonly run_id: string;
  readonly root_run_id: string;
  readonly step: number;
  readonly attempt: number;
  readonly provider: string;
  readonly model: string;
  readonly price_version: string | null;
  readonly day: string | null;
  readonly held_nano: number | null;
  readonly observed_nano: number | null;
  readonly state: 'held' | 'settled' | 'expired';
  readonly estimated: boolean;
  readonly completed: boolean;
  readonly settled_seq: number | null;
}

/** What is added to a row of daily_costs. */
export interface DailyChange {
  readonly tenant_id: string;
  readonly day: string;
  readonly user_id: string;
  readonly agent: string;
  readonly model: string;
  readonly observed_nano: number;
  readonly calls: number;
}

export interface CostChanges {
  readonly ledger: readonly LedgerRow[];
  readonly daily: readonly DailyChange[];
  /** By run id: what is added to `cost_observed_nano`. */
  readonly observedNano: ReadonlyMap<string, number>;
}

interface CallRef {
  readonly step: number;
  readonly attempt: number;
  readonly model: string;
}

/** One half of a ledger row, as an event states it. */
type Half = { readonly record: AuditRecord; readonly call: CallRef } & (
  | { readonly hold: Hold }
  | {
      readonly settlement: Settlement;
      readonly state: 'settled' | 'expired';
      readonly completed: boolean;
      readonly seq: number;
    }
);

const halfOf = ({ record, event }: GoodEntry): Half | null => {
  switch (event.type) {
    case 'llm.requested':
      return event.data.hold === null ? null : { record, call: event.data, hold: event.data.hold };
    case 'llm.completed':
    case 'llm.failed':
    case 'cost.expired': {
      const { data, type, seq } = event;
      if (data.settlement === null) return null;
      const state = type === 'cost.expired' ? 'expired' : 'settled';
      return {
        record,
        call: data,
        settlement: data.settlement,
        state,
        completed: type === 'llm.completed',
        seq,
      };
    }
    default:
      return null;
  }
};

const holdIdOf = (half: Half): string => ('hold' in half ? half.hold.id : half.settlement.hold_id);

const emptyRow = (half: Half): LedgerRow => ({
  hold_id: holdIdOf(half),
  tenant_id: half.record.tenantId,
  user_id: half.record.userId,
  agent: half.record.agent,
  run_id: half.record.runId,
  root_run_id: half.record.rootRunId,
  step: half.call.step,
  attempt: half.call.attempt,
  provider: splitModelRef(half.call.model).provider,
  model: half.call.model,
  price_version: null,
  day: null,
  held_nano: null,
  observed_nano: null,
  state: 'held',
  estimated: false,
  completed: false,
  settled_seq: null,
});

/** A second settlement corrects the first, as in `fold`: the one with the higher seq stands. */
const join = (row: LedgerRow, half: Half): LedgerRow => {
  if ('hold' in half) {
    const { amount_nano, day, price_version } = half.hold;
    return { ...row, held_nano: amount_nano, day, price_version };
  }
  if (row.settled_seq !== null && row.settled_seq > half.seq) return row;
  const { state, completed, settlement, seq } = half;
  const { observed_nano, estimated } = settlement;
  return { ...row, state, completed, observed_nano, estimated, settled_seq: seq };
};

/** What a row counts for in its day: nothing before both halves are known, since only the hold knows the day. */
const countOf = (row: LedgerRow | undefined): { observed_nano: number; calls: number } =>
  row === undefined || row.day === null
    ? { observed_nano: 0, calls: 0 }
    : { observed_nano: row.observed_nano ?? 0, calls: row.completed ? 1 : 0 };

const addDaily = (sums: Map<string, DailyChange>, before: LedgerRow | undefined, after: LedgerRow): void => {
  if (after.day === null) return;
  const [was, is] = [countOf(before), countOf(after)];
  const observed_nano = is.observed_nano - was.observed_nano;
  const calls = is.calls - was.calls;
  if (observed_nano === 0 && calls === 0) return;
  const { tenant_id, day, model, user_id, agent } = after;
  const key = JSON.stringify([tenant_id, day, user_id ?? '', agent ?? '', model]);
  const sum = sums.get(key);
  sums.set(key, {
    tenant_id,
    day,
    user_id: user_id ?? '',
    agent: agent ?? '',
    model,
    observed_nano: (sum?.observed_nano ?? 0) + observed_nano,
    calls: (sum?.calls ?? 0) + calls,
  });
};

export const holdIdsOf = (fresh: readonly GoodEntry[]): readonly string[] => [
  ...new Set(fresh.flatMap((entry) => halfOf(entry) ?? []).map(holdIdOf)),
];

/** The ledger rows that events change, as they are then. */
export const ledgerAfter = (
  stored: ReadonlyMap<string, LedgerRow>,
  fresh: readonly GoodEntry[],
): ReadonlyMap<string, LedgerRow> => {
  const ledger = new Map<string, LedgerRow>();
  for (const entry of fresh) {
    const half = halfOf(entry);
    if (half === null) continue;
    const id = holdIdOf(half);
    ledger.set(id, join(ledger.get(id) ?? stored.get(id) ?? emptyRow(half), half));
  }
  return ledger;
};

/** What newly stored events change, given the ledger rows of their holds as they are stored now. */
export const costChanges = (
  stored: ReadonlyMap<string, LedgerRow>,
  fresh: readonly GoodEntry[],
): CostChanges => {
  const ledger = ledgerAfter(stored, fresh);
  const daily = new Map<string, DailyChange>();
  const observedNano = new Map<string, number>();
  for (const [id, after] of ledger) {
    const before = stored.get(id);
    addDaily(daily, before, after);
    const added = (after.observed_nano ?? 0) - (before?.observed_nano ?? 0);
    observedNano.set(after.run_id, (observedNano.get(after.run_id) ?? 0) + added);
  }
  return { ledger: [...ledger.values()], daily: [...daily.values()], observedNano };
};
