/** Runs of any shape for tests of the projections, and what must be stored of them: told by the engine's own fold. */
import assert from 'node:assert/strict';
import { type AuditRecord, type EventDraft, newId, toUsd } from '@signalbox/contracts';
import { fold } from '@signalbox/engine';
import fc from 'fast-check';
import type { Db } from '../src/db/pool.ts';
import {
  type Call,
  callFailed,
  claimed,
  completed,
  expired,
  type Journal,
  journalOf,
  MODEL,
  recordOf,
  requested,
  submitted,
  succeeded,
  TENANT,
  toolCompleted,
  toolRequested,
} from './journal.ts';

type Move =
  | 'complete'
  | 'retry'
  | 'expire'
  | 'correct'
  | 'tool'
  | 'park'
  | 'hand_over'
  | 'abort_note'
  | 'leave_open';
const MOVES: readonly Move[] = [
  'complete',
  'retry',
  'expire',
  'correct',
  'tool',
  'park',
  'hand_over',
  'abort_note',
  'leave_open',
];
type Ending = 'succeeded' | 'failed' | 'aborted' | 'none';

export interface Plan {
  readonly moves: readonly {
    readonly move: Move;
    readonly held: number;
    readonly observed: number;
    readonly day: number;
  }[];
  readonly ending: Ending;
  readonly scheduled: boolean;
  readonly user: boolean;
}

export const plan: fc.Arbitrary<Plan> = fc.record({
  moves: fc.array(
    fc.record({
      move: fc.constantFrom(...MOVES),
      held: fc.nat(10_000_000),
      observed: fc.nat(9_000_000),
      day: fc.integer({ min: 1, max: 3 }),
    }),
    { maxLength: 8 },
  ),
  ending: fc.constantFrom<Ending>('succeeded', 'failed', 'aborted', 'none'),
  scheduled: fc.boolean(),
  user: fc.boolean(),
});

const draftsOfMove = (move: Move, hold: Call, observed: Call): EventDraft[] => {
  const again = (call: Call): Call => ({ ...call, attempt: 2 });
  switch (move) {
    case 'complete':
      return [requested(hold), completed(observed)];
    case 'retry':
      return [requested(hold), callFailed(observed), requested(again(hold)), completed(again(observed))];
    case 'expire':
      return [requested(hold), expired(hold), requested(again(hold)), completed(again(observed))];
    case 'correct':
      // The hold was charged, then the worker's late answer says what it really cost.
      return [requested(hold), expired(hold), completed(observed)];
    case 'tool':
      return [toolRequested(hold.step), toolCompleted(hold.step)];
    case 'leave_open':
      return [requested(hold)];
    case 'park':
      return [
        { type: 'run.parked', data: { reason: 'capacity', until: null } },
        { type: 'run.woken', data: { reason: 'capacity' } },
        claimed(),
      ];
    case 'hand_over':
      return [{ type: 'run.handed_over', data: { reason: 'drain' } }];
    case 'abort_note':
      return [
        {
          type: 'run.abort_requested',
          data: { requested_at: '2026-11-21T09:00:00Z', by: 'u', reason: null },
        },
      ];
  }
};

const STEPS: ReadonlySet<Move> = new Set(['complete', 'retry', 'expire', 'correct', 'tool', 'leave_open']);

const ENDINGS: Record<Ending, EventDraft[]> = {
  succeeded: [succeeded(0)],
  failed: [{ type: 'run.failed', data: { code: 'timeout', message: 'too slow' } }],
  aborted: [{ type: 'run.aborted', data: { caught: 'between_steps', call_closed: false, settled_nano: 0 } }],
  none: [],
};

export const journalOfPlan = ({ moves, ending, scheduled, user }: Plan): Journal => {
  const runId = newId('run');
  const drafts = [
    submitted({ run_at: scheduled ? '2026-11-22T00:00:00Z' : null, user_id: user ? 'u1' : null }),
    claimed(),
  ];
  let step = 0;
  for (const { move, held, observed, day } of moves) {
    if (STEPS.has(move)) step += 1;
    const call = { runId, step, day: `2026-11-0${day}` };
    drafts.push(...draftsOfMove(move, { ...call, nano: held }, { ...call, nano: observed }));
  }
  return journalOf(runId, [...drafts, ...ENDINGS[ending]]);
};

/** The journal as commits of one or two events. */
export const commitsOf = ({ runId, entries }: Journal, user: boolean): AuditRecord[] => {
  const records: AuditRecord[] = [];
  for (let at = 0; at < entries.length; at += 1 + (at % 2)) {
    records.push(recordOf(runId, entries.slice(at, at + 1 + (at % 2)), { userId: user ? 'u1' : null }));
  }
  return records;
};

/** What a run's row must show: the engine's own fold. */
export const expectedRun = ({ events }: Journal) => {
  const state = fold(events);
  const error = state.error?.code ?? null;
  return {
    status: state.status,
    waiting_for: state.waitingFor,
    error_code: error,
    cost: toUsd(state.observedNano),
    estimated: state.estimated,
    input_tokens: state.usage.input_tokens,
    output_tokens: state.usage.output_tokens,
    steps: state.steps.length,
    epoch: state.epoch,
    last_seq: state.seq,
    created_at: state.createdAt,
    started_at: state.startedAt,
    finished_at: state.finishedAt,
  };
};

export const actualRun = async (db: Db, runId: string) => {
  const row = await db.selectFrom('runs').selectAll().where('id', '=', runId).executeTakeFirstOrThrow();
  const { status, waiting_for, error_code, estimated, input_tokens, output_tokens, steps, epoch, last_seq } =
    row;
  return {
    status,
    waiting_for,
    error_code,
    cost: Number(row.cost_observed_usd),
    estimated,
    input_tokens,
    output_tokens,
    steps,
    epoch,
    last_seq,
    created_at: row.created_at.toISOString(),
    started_at: row.started_at?.toISOString() ?? null,
    finished_at: row.finished_at?.toISOString() ?? null,
  };
};

/** The sums per day, told straight from the journals: per hold the last settlement counts. */
export const expectedDays = (
  journals: readonly Journal[],
): Record<string, { nano: number; calls: number }> => {
  const days: Record<string, { nano: number; calls: number }> = {};
  for (const { events } of journals) {
    const holds = new Map<string, { key: string; nano: number; calls: number }>();
    const user = events[0]?.type === 'run.submitted' ? (events[0].data.user_id ?? '') : '';
    for (const event of events) {
      if (event.type === 'llm.requested' && event.data.hold !== null) {
        holds.set(event.data.hold.id, { key: `${event.data.hold.day} ${user}`, nano: 0, calls: 0 });
      }
      if (event.type === 'llm.completed' || event.type === 'llm.failed' || event.type === 'cost.expired') {
        const hold = holds.get(event.data.settlement?.hold_id ?? '');
        assert.ok(hold !== undefined && event.data.settlement !== null);
        hold.nano = event.data.settlement.observed_nano;
        hold.calls = event.type === 'llm.completed' ? 1 : 0;
      }
    }
    for (const { key, nano, calls } of holds.values()) {
      const day = (days[key] ??= { nano: 0, calls: 0 });
      day.nano += nano;
      day.calls += calls;
    }
  }
  // A day of zero may have no row.
  return Object.fromEntries(Object.entries(days).filter(([, { nano, calls }]) => nano !== 0 || calls !== 0));
};

export const actualDays = async (db: Db): Promise<Record<string, { nano: number; calls: number }>> => {
  const rows = await db.selectFrom('daily_costs').selectAll().where('tenant_id', '=', TENANT).execute();
  assert.ok(rows.every((row) => row.model === MODEL && row.agent === 'support'));
  return Object.fromEntries(
    rows
      .map((row) => [`${row.day} ${row.user_id}`, { nano: row.observed_nano, calls: row.calls }] as const)
      .filter(([, { nano, calls }]) => nano !== 0 || calls !== 0),
  );
};

/** Deals the records, some of them twice, in any order into batches. */
export const deal = (records: readonly AuditRecord[], seeds: readonly number[]): AuditRecord[][] => {
  const seedAt = (index: number): number => seeds[index % seeds.length] ?? 0;
  const all = records.flatMap((record, index) => (seedAt(index) % 3 === 0 ? [record, record] : [record]));
  const shuffled = all
    .map((record, index) => ({ record, key: (seedAt(index) * 7919 + index * seedAt(index + 1)) % 1009 }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ record }) => record);
  const batches: AuditRecord[][] = [];
  for (let at = 0; at < shuffled.length; ) {
    const size = 1 + (seedAt(at + 3) % 6);
    batches.push(shuffled.slice(at, at + size));
    at += size;
  }
  return batches;
};
