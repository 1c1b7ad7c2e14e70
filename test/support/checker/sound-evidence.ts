import { type EventDraft, NO_USAGE } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD, type Head } from '@signalbox/engine';
import type { Evidence } from './evidence.ts';

type Mutable<T> = T extends Date
  ? T
  : T extends ReadonlyMap<infer K, infer V>
    ? Map<K, Mutable<V>>
    : T extends readonly (infer V)[]
      ? Mutable<V>[]
      : T extends object
        ? { -readonly [K in keyof T]: Mutable<T[K]> }
        : T;

export type Planted = Mutable<Evidence>;

export const RUN = `run_${'0'.repeat(31)}1`;
export const HOLD = `${RUN}:1:1`;
export const DAY = '2026-03-01';
const TS = '2026-03-01T12:00:00.000Z';
const LIMITS = { max_steps: 20, max_output_tokens: 10, timeout_seconds: 60 };

export const submitted: EventDraft = {
  type: 'run.submitted',
  data: {
    tenant_id: 't1',
    agent: { name: null, version: null },
    spec_digest: '',
    model: 'openai/gpt-4o-mini',
    fallbacks: [],
    limits: LIMITS,
    cap_nano: null,
    user_id: 'u1',
    session_id: null,
    parent_run_id: null,
    forked_from: null,
    priority: 'normal',
    run_at: null,
    traceparent: null,
  },
};
export const claimed: EventDraft = {
  type: 'run.claimed',
  data: { worker: 'w', wake_seq: 1, resumed: false },
};
export const requested: EventDraft = {
  type: 'llm.requested',
  data: {
    step: 1,
    attempt: 1,
    model: 'openai/gpt-4o-mini',
    max_output_tokens: 10,
    input_bound: 10,
    temperature: null,
    tools: [],
    nudge: null,
    request_digest: '',
    hold: { id: HOLD, amount_nano: 1000, day: DAY, price_version: 'p' },
  },
};
export const completed: EventDraft = {
  type: 'llm.completed',
  data: {
    step: 1,
    attempt: 1,
    model: 'openai/gpt-4o-mini',
    model_served: 'gpt-4o-mini',
    settlement: { hold_id: HOLD, observed_nano: 400, estimated: false },
    usage: { ...NO_USAGE, input_tokens: 7, output_tokens: 3 },
    duration_ms: 1,
    finish_reason: 'stop',
    tool_calls: [],
    output_valid: true,
    has_text: true,
    provider_request_id: null,
  },
};
export const succeeded: EventDraft = { type: 'run.succeeded', data: { steps: 1 } };

const entriesOf = (drafts: readonly EventDraft[], epochs: readonly number[]): string[] => {
  let head: Head = EMPTY_HEAD;
  return drafts.flatMap((draft, i) => {
    const actor = { type: 'system', id: 'test' } as const;
    const appended = appendDrafts(head, [draft], { runId: RUN, epoch: epochs[i] ?? 1, ts: TS, actor });
    head = appended.head;
    return appended.entries;
  });
};

const rowsOf = (entries: readonly string[]) =>
  entries.map((entry) => {
    const body = entry.slice(64);
    const { seq, epoch, type, prev } = JSON.parse(body) as {
      seq: number;
      epoch: number;
      type: string;
      prev: string;
    };
    return { run_id: RUN, seq, epoch, type, prev, hash: entry.slice(0, 64), body };
  });

/** A system with one run that went well, to plant faults in. */
export const sound = (
  drafts: readonly EventDraft[] = [submitted, claimed, requested, completed, succeeded],
  epochs: readonly number[] = [0, 1, 1, 1, 1],
): Planted => {
  const entries = entriesOf(drafts, epochs);
  const evidence: Evidence = {
    runs: [
      {
        id: RUN,
        record: { status: 'succeeded', seq: String(entries.length), root: RUN, spent: '400', held: '0' },
        entries,
        holds: { [HOLD]: `settled 1000 ${DAY} 400` },
        rows: rowsOf(entries),
        row: {
          id: RUN,
          status: 'succeeded',
          error_code: null,
          steps: 1,
          last_seq: entries.length,
          epoch: 1,
          cost_observed_nano: 400,
          input_tokens: 7,
          output_tokens: 3,
          started_at: new Date(TS),
          finished_at: new Date(TS),
        },
        ledger: [
          {
            hold_id: HOLD,
            tenant_id: 't1',
            user_id: 'u1',
            agent: null,
            run_id: RUN,
            root_run_id: RUN,
            model: 'openai/gpt-4o-mini',
            day: DAY,
            held_nano: 1000,
            observed_nano: 400,
            state: 'settled',
            completed: true,
          },
        ],
      },
    ],
    spend: new Map([
      [`spend:tenant:t1:${DAY}`, { spent: 400, held: 0 }],
      [`spend:user:t1:${DAY}:u1`, { spent: 400, held: 0 }],
      [`spend:tenant_month:t1:${DAY.slice(0, 7)}`, { spent: 400, held: 0 }],
      [`spend:user_month:t1:${DAY.slice(0, 7)}:u1`, { spent: 400, held: 0 }],
    ]),
    daily: [
      {
        tenant_id: 't1',
        day: DAY,
        user_id: 'u1',
        agent: '',
        model: 'openai/gpt-4o-mini',
        observed_nano: 400,
        calls: 1,
      },
    ],
    leftovers: new Map([['running', []]]),
    backlog: 0,
    quarantined: 0,
    provider: [{ runId: RUN, call: 1 }],
  };
  return structuredClone(evidence) as Planted;
};
