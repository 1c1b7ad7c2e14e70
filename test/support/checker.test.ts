/** A checker that cannot fail proves nothing: each rule is shown to see the fault it is for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type EventDraft, NO_USAGE } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD, type Head } from '@signalbox/engine';
import { check, type Evidence } from './checker.ts';

type Mutable<T> = T extends Date
  ? T
  : T extends ReadonlyMap<infer K, infer V>
    ? Map<K, Mutable<V>>
    : T extends readonly (infer V)[]
      ? Mutable<V>[]
      : T extends object
        ? { -readonly [K in keyof T]: Mutable<T[K]> }
        : T;

type Planted = Mutable<Evidence>;

const RUN = `run_${'0'.repeat(31)}1`;
const HOLD = `${RUN}:1:1`;
const DAY = '2026-03-01';
const TS = '2026-03-01T12:00:00.000Z';
const LIMITS = { max_steps: 20, max_output_tokens: 10, timeout_seconds: 60 };

const submitted: EventDraft = {
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
const claimed: EventDraft = {
  type: 'run.claimed',
  data: { worker: 'w', wake_seq: 1, resumed: false },
};
const requested: EventDraft = {
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
const completed: EventDraft = {
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
const succeeded: EventDraft = { type: 'run.succeeded', data: { steps: 1 } };

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

/** A system with one run that went well. */
const sound = (
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

const first = <T>(list: readonly T[]): T => {
  const [found] = list;
  assert.ok(found !== undefined);
  return found;
};
const run = (evidence: Planted) => first(evidence.runs);
const row = (evidence: Planted) => {
  const found = run(evidence).row;
  assert.ok(found !== null);
  return found;
};
const rules = (evidence: Evidence): string[] => [...new Set(check(evidence).map(({ rule }) => rule))];

const OTHER_REDIS = 'Redis and Postgres hold the same journal';

/** [what is wrong, how to plant it, the rules that must see it]. */
const FAULTS: readonly [string, (evidence: Planted) => unknown, string[]][] = [
  ['an event is missing in Postgres', (e) => run(e).rows.splice(2, 1), ['gap-free (R5)', 'prev (R5)']],
  ['an event is missing in Redis', (e) => run(e).entries.splice(1, 1), ['gap-free (R5)', OTHER_REDIS]],
  ['an event is stored twice', (e) => run(e).entries.push(run(e).entries.at(-1) ?? ''), [OTHER_REDIS]],
  [
    'a stored body was changed',
    (e) => void (first(run(e).rows).body = first(run(e).rows).body?.replace('"u1"', '"u2"') ?? null),
    ['hash (R5)', OTHER_REDIS],
  ],
  [
    'a column was changed',
    (e) => void (first(run(e).rows).type = 'run.failed'),
    ['columns say what the body says'],
  ],
  ['the row has another status', (e) => void (row(e).status = 'running'), ['runs row = events']],
  ['the row has another cost', (e) => void (row(e).cost_observed_nano = 401), ['runs row = events']],
  ['the row is behind', (e) => void (row(e).last_seq = 4), ['runs row = events']],
  ['the row is missing', (e) => void (run(e).row = null), ['runs row = events']],
  ['the run record did not end', (e) => void (run(e).record['status'] = 'running'), ['run record = events']],
  [
    'the tenant counter lost money',
    (e) => void e.spend.set(`spend:tenant:t1:${DAY}`, { spent: 0, held: 0 }),
    ['counters = ledger'],
  ],
  [
    'the tenant counter of the month lost money',
    (e) => void e.spend.set(`spend:tenant_month:t1:${DAY.slice(0, 7)}`, { spent: 0, held: 0 }),
    ['counters = ledger'],
  ],
  [
    'a counter still holds',
    (e) => void e.spend.set(`spend:user:t1:${DAY}:u1`, { spent: 400, held: 1 }),
    ['nothing stays held'],
  ],
  ['a hold is still held', (e) => void (run(e).holds[HOLD] = `held 1000 ${DAY}`), ['nothing stays held']],
  ['the run counter differs', (e) => void (run(e).record['spent'] = '399'), ['run counter = journal']],
  [
    'the ledger differs',
    (e) => void (first(run(e).ledger).observed_nano = 1),
    ['ledger = journal', 'counters = ledger'],
  ],
  ['the ledger lost a row', (e) => run(e).ledger.pop(), ['ledger = journal']],
  ['a day counts a call twice', (e) => void (first(e.daily).calls = 2), ['days = ledger']],
  [
    'a run is still in a set',
    (e) => void e.leftovers.set('running', [RUN]),
    ['no ended run in the sets of live ones (R10)'],
  ],
  [
    'the provider got the call twice',
    (e) => e.provider?.push({ runId: RUN, call: 1 }),
    ['provider = journal'],
  ],
  ['the provider never got the call', (e) => e.provider?.pop(), ['provider = journal']],
  [
    'the provider got a call nobody announced',
    (e) => e.provider?.push({ runId: RUN, call: 2 }),
    ['provider = journal'],
  ],
  ['commits wait', (e) => void (e.backlog = 1), ['all is stored (R9)']],
  ['an event was set aside', (e) => void (e.quarantined = 1), ['nothing is quarantined']],
];

test('a sound system has no violation', () => {
  assert.deepEqual(check(sound()), []);
});

for (const [what, plant, expected] of FAULTS) {
  test(`seen: ${what}`, () => {
    const evidence = sound();
    plant(evidence);
    const seen = rules(evidence);
    for (const rule of expected) assert.ok(seen.includes(rule), `${rule} is not among ${seen.join('; ')}`);
  });
}

/** [what is wrong, events, epochs, the rule that must see it]: authentic chains that should never be written. */
const JOURNALS: readonly [string, EventDraft[], number[], string][] = [
  [
    'two ends',
    [submitted, claimed, requested, completed, succeeded, succeeded],
    [0, 1, 1, 1, 1, 1],
    'one end (R7)',
  ],
  ['no end', [submitted, claimed, requested, completed], [0, 1, 1, 1], 'one end (R7)'],
  [
    'an event after the end',
    [submitted, claimed, requested, succeeded, completed],
    [0, 1, 1, 1, 1],
    'the end is last (R7)',
  ],
  [
    'an old epoch writes',
    [submitted, claimed, requested, completed, succeeded],
    [0, 2, 2, 1, 2],
    'epochs do not go back (R4)',
  ],
  [
    'two claims of an epoch',
    [submitted, claimed, claimed, requested, completed, succeeded],
    [0, 1, 1, 1, 1, 1],
    'one claim an epoch (R4)',
  ],
  [
    'a completed call is made again',
    [submitted, claimed, requested, completed, requested, completed, succeeded],
    [0, 1, 1, 1, 1, 1, 1],
    'completed is completed (R6)',
  ],
  [
    'a call is answered that was not announced',
    [submitted, claimed, completed, succeeded],
    [0, 1, 1, 1],
    'announced before it happened (R3)',
  ],
  [
    'a hold is never settled',
    [submitted, claimed, requested, succeeded],
    [0, 1, 1, 1],
    'each hold ends (R1)',
  ],
];

for (const [what, drafts, epochs, rule] of JOURNALS) {
  test(`seen: ${what}`, () => {
    assert.ok(rules(sound(drafts, epochs)).includes(rule));
  });
}
