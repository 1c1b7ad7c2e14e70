import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Nano } from '@signalbox/contracts';
import fc from 'fast-check';
import { answerDenial, type DenialAnswer, MIN_OUTPUT_TOKENS, type ScopeRoom } from './denial.ts';

interface Case {
  readonly inputNano: Nano;
  readonly tokenNano: Nano;
  readonly maxOutputTokens: number;
  readonly scopes: readonly ScopeRoom[];
}

const amount = fc.integer({ min: 0, max: 200_000 });

const cases: fc.Arbitrary<Case> = fc.record({
  inputNano: fc.integer({ min: 0, max: 50_000 }),
  tokenNano: fc.integer({ min: 1, max: 100 }),
  maxOutputTokens: fc.integer({ min: 1, max: 2000 }),
  scopes: fc.array(
    fc.record({
      scope: fc.constantFrom('run', 'user_day', 'tenant_day'),
      capNano: amount,
      spentNano: amount,
      heldNano: amount,
    }),
    { minLength: 1, maxLength: 3 },
  ),
});

const costOf = ({ inputNano, tokenNano }: Case, tokens: number): Nano => inputNano + tokens * tokenNano;
const free = ({ capNano, spentNano }: ScopeRoom): Nano => capNano - spentNano;
const room = (scope: ScopeRoom): Nano => free(scope) - scope.heldNano;
const floorOf = ({ maxOutputTokens }: Case): number => Math.min(MIN_OUTPUT_TOKENS, maxOutputTokens);
const least = (scopes: readonly ScopeRoom[], by: (scope: ScopeRoom) => Nano): Nano =>
  Math.min(...scopes.map(by));

const answer = (input: Case): DenialAnswer =>
  answerDenial({
    needNano: costOf(input, input.maxOutputTokens),
    scopes: input.scopes,
    maxOutputTokens: input.maxOutputTokens,
    affordable: (roomNano) => Math.max(0, Math.floor((roomNano - input.inputNano) / input.tokenNano)),
  });

/** Cases in which the hold was really denied. */
const forAll = (check: (input: Case, answer: DenialAnswer) => void): void =>
  fc.assert(
    fc.property(cases, (input) => {
      fc.pre(least(input.scopes, room) < costOf(input, input.maxOutputTokens));
      check(input, answer(input));
    }),
    { numRuns: 2000 },
  );

test('a smaller limit fits the room of every scope, and is worth the call (R1)', () => {
  forAll((input, given) => {
    if (given.type !== 'shrink') return;
    assert.ok(costOf(input, given.maxOutputTokens) <= least(input.scopes, room));
    assert.ok(given.maxOutputTokens >= floorOf(input));
    assert.ok(given.maxOutputTokens < input.maxOutputTokens);
  });
});

test('a smaller limit is the largest that fits', () => {
  forAll((input, given) => {
    if (given.type !== 'shrink') return;
    assert.ok(costOf(input, given.maxOutputTokens + 1) > least(input.scopes, room));
  });
});

test('a run shrinks only when the whole call can never fit', () => {
  forAll((input, given) => {
    if (given.type !== 'shrink') return;
    assert.ok(costOf(input, input.maxOutputTokens) > least(input.scopes, free));
  });
});

test('a run parks only where holds are in the way, and only when it could fit once they are gone', () => {
  forAll((input, given) => {
    if (given.type !== 'park') return;
    assert.ok(given.scope.heldNano > 0);
    assert.equal(room(given.scope), least(input.scopes, room));
    assert.ok(costOf(input, floorOf(input)) <= least(input.scopes, free));
  });
});

test('a run fails exactly when not even the smallest useful answer fits, holds or not', () => {
  forAll((input, given) => {
    const hopeless = costOf(input, floorOf(input)) > least(input.scopes, free);
    assert.equal(given.type === 'fail', hopeless);
    if (given.type === 'fail') assert.equal(free(given.scope), least(input.scopes, free));
  });
});

const tenant = (capNano: Nano, spentNano: Nano, heldNano: Nano): ScopeRoom => ({
  scope: 'tenant_day',
  capNano,
  spentNano,
  heldNano,
});
const base = { inputNano: 1000, tokenNano: 10, maxOutputTokens: 1000 };

const TABLE: readonly [string, ScopeRoom, Partial<DenialAnswer>][] = [
  ['others hold what is needed', tenant(20_000, 5000, 10_000), { type: 'park' }],
  ['spent leaves room for exactly the need', tenant(20_000, 9000, 1), { type: 'park' }],
  ['spent leaves one nano less', tenant(20_000, 9001, 0), { type: 'shrink', maxOutputTokens: 999 }],
  ['room for exactly 256 tokens', tenant(3560, 0, 0), { type: 'shrink', maxOutputTokens: 256 }],
  ['room for 255 tokens', tenant(3559, 0, 0), { type: 'fail' }],
  ['256 tokens once the holds are gone', tenant(3560, 0, 1), { type: 'park' }],
  ['nothing left', tenant(20_000, 20_000, 0), { type: 'fail' }],
  ['overspent', tenant(20_000, 25_000, 0), { type: 'fail' }],
];

for (const [name, scope, expected] of TABLE) {
  test(`denied: ${name}`, () => {
    assert.partialDeepStrictEqual(answer({ ...base, scopes: [scope] }), expected);
  });
}

test('a limit below 256 asked for by the agent is not raised', () => {
  const given = answer({ ...base, maxOutputTokens: 100, scopes: [tenant(1999, 0, 0)] });
  assert.equal(given.type, 'fail');
});
