import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Category, categoryOf, Event, EVENT_TYPES, type EventType, GENESIS } from './event.ts';

/** The types that users rely on, with their coarse class. */
const CONTRACT: Readonly<Record<EventType, Category>> = {
  'run.submitted': 'run',
  'run.claimed': 'run',
  'run.parked': 'run',
  'run.woken': 'run',
  'run.handed_over': 'run',
  'run.abort_requested': 'abort',
  'run.succeeded': 'run',
  'run.failed': 'run',
  'run.aborted': 'abort',
  'llm.requested': 'llm',
  'llm.completed': 'llm',
  'llm.failed': 'llm',
  'tool.requested': 'tool',
  'tool.completed': 'tool',
  'tool.failed': 'tool',
  'cost.denied': 'cost',
  'cost.expired': 'cost',
  'approval.requested': 'approval',
  'approval.decided': 'approval',
  'guardrail.tripped': 'guardrail',
  handoff: 'handoff',
  'child.spawned': 'child',
  'child.finished': 'child',
};

test('the event types are those of the contract, each in its category', () => {
  assert.deepEqual(EVENT_TYPES.toSorted(), Object.keys(CONTRACT).toSorted());
  for (const type of EVENT_TYPES) assert.equal(categoryOf(type), CONTRACT[type], type);
});

const HASH = 'a'.repeat(64);
const settlement = { hold_id: 'run:1:1', observed_nano: 5, estimated: false };
const hold = { id: 'run:1:1', amount_nano: 5, day: '2026-01-01', price_version: 'p1' };

const requested = {
  run_id: 'run_1',
  seq: 3,
  epoch: 1,
  type: 'llm.requested',
  ts: '2026-01-01T00:00:00.000Z',
  actor: { type: 'system', id: 'worker-1' },
  refs: {},
  prev: GENESIS,
  hash: HASH,
  data: {
    step: 1,
    attempt: 1,
    model: 'mock/a',
    max_output_tokens: 10,
    input_bound: 0,
    temperature: null,
    tools: [],
    nudge: null,
    request_digest: 'd',
    hold,
  },
};

const expired = {
  ...requested,
  type: 'cost.expired',
  data: { step: 1, attempt: 1, model: 'mock/a', settlement },
};

test('an event reads back as it is', () => {
  assert.deepEqual(Event.parse(requested), requested);
  assert.deepEqual(Event.parse(expired), expired);
});

test('an unknown type is refused', () => {
  for (const type of ['run.exploded', '', 'toString', undefined]) {
    assert.ok(!Event.safeParse({ ...requested, type }).success, String(type));
  }
});

test('a type with the data of another is refused', () => {
  assert.ok(!Event.safeParse({ ...requested, type: 'tool.requested' }).success);
});

const without = (object: object, key: string): object =>
  Object.fromEntries(Object.entries(object).filter(([name]) => name !== key));

test('no field of an event or of its data may be missing', () => {
  for (const key of Object.keys(requested)) {
    assert.ok(!Event.safeParse(without(requested, key)).success, key);
  }
  for (const key of Object.keys(requested.data)) {
    const data = without(requested.data, key);
    assert.ok(!Event.safeParse({ ...requested, data }).success, `data.${key}`);
  }
});

test('no type accepts empty data', () => {
  for (const type of EVENT_TYPES) {
    assert.ok(!Event.safeParse({ ...requested, type, data: {} }).success, type);
    assert.ok(!Event.safeParse({ ...requested, type, data: null }).success, type);
  }
});

const WRONG: readonly [string, object][] = [
  ['seq 0', { seq: 0 }],
  ['a fraction as seq', { seq: 1.5 }],
  ['a negative epoch', { epoch: -1 }],
  ['an unknown actor', { actor: { type: 'robot', id: 'x' } }],
  ['a short hash', { hash: 'abc' }],
  ['a short prev', { prev: 'A'.repeat(63) }],
  ['a ref that is no text', { refs: { output: 1 } }],
  ['step 0', { data: { ...requested.data, step: 0 } }],
  ['attempt 0', { data: { ...requested.data, attempt: 0 } }],
  ['a negative hold', { data: { ...requested.data, hold: { ...hold, amount_nano: -1 } } }],
  ['a fraction of a nano-USD', { data: { ...requested.data, hold: { ...hold, amount_nano: 0.5 } } }],
  ['a hold for no day', { data: { ...requested.data, hold: { ...hold, day: 'today' } } }],
  ['an unknown nudge', { data: { ...requested.data, nudge: 'louder' } }],
];

for (const [what, change] of WRONG) {
  test(`an event with ${what} is refused`, () => {
    assert.ok(!Event.safeParse({ ...requested, ...change }).success);
  });
}
