/** A checker that cannot fail proves nothing: each rule is shown to see the fault it is for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventDraft } from '@signalbox/contracts';
import { check, type Evidence } from './checker.ts';
import {
  RUN,
  HOLD,
  DAY,
  submitted,
  claimed,
  requested,
  completed,
  succeeded,
  sound,
  type Planted,
} from './checker/sound-evidence.ts';

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
