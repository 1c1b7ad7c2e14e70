import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CapUsd, fromUsd, MAX_NANO, NanoAmount, picoToNano, toUsd, Usd } from './money.ts';

const nano = fc.oneof(
  fc.integer({ min: 0, max: MAX_NANO }),
  fc.integer({ min: 0, max: 1_000_000 }),
  fc.integer({ min: MAX_NANO - 1_000_000, max: MAX_NANO }),
);

test('an amount survives USD and back: exactly up to 1,000,000 USD, within one nano-USD above', () => {
  fc.assert(
    fc.property(nano, (amount) => {
      const back = fromUsd(toUsd(amount));
      const slack = amount <= 1_000_000 * 1e9 ? 0 : 1;
      assert.ok(Math.abs(back - amount) <= slack, `${amount} came back as ${back}`);
      assert.ok(Number.isSafeInteger(back));
    }),
    { numRuns: 20_000 },
  );
});

test('USD amounts read as people write them', () => {
  assert.deepEqual([0.0021, 0.1, 0.3, 1e-9, 9_000_000].map(fromUsd), [
    2_100_000,
    100_000_000,
    300_000_000,
    1,
    MAX_NANO,
  ]);
  assert.deepEqual([2_100_000, 1, 0].map(toUsd), [0.0021, 1e-9, 0]);
});

test('nano-USD keeps the order of USD', () => {
  fc.assert(fc.property(nano, nano, (a, b) => assert.equal(a < b && toUsd(a) > toUsd(b), false)));
});

test('pico-USD is rounded up, by less than one nano-USD', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: BigInt(MAX_NANO) * 1000n }), (pico) => {
      const over = BigInt(picoToNano(pico)) * 1000n - pico;
      assert.ok(over >= 0n && over < 1000n);
    }),
    { numRuns: 2000 },
  );
  assert.deepEqual([0n, 1n, 999n, 1000n, 1001n].map(picoToNano), [0, 1, 1, 1, 2]);
});

test('no price comes to more than any cap there can be', () => {
  const most = BigInt(MAX_NANO) * 1000n;
  assert.deepEqual([most - 1000n, most, most + 1n, most ** 3n].map(picoToNano), [
    MAX_NANO - 1,
    MAX_NANO,
    MAX_NANO,
    MAX_NANO,
  ]);
});

test('no cap above 9,000,000 USD, below zero, finer than a nano-USD or that is no number', () => {
  assert.equal(MAX_NANO, 9e15);
  assert.ok(Number.isSafeInteger(MAX_NANO));
  for (const usd of [0, 0.5, 9_000_000]) assert.ok(Usd.safeParse(usd).success, String(usd));
  for (const usd of [-0.01, 9_000_000.01, Number.NaN, Number.POSITIVE_INFINITY, '1', null]) {
    assert.ok(!Usd.safeParse(usd).success, String(usd));
  }
  for (const usd of [0, 1e-9, 0.3, 9_000_000]) assert.ok(CapUsd.safeParse(usd).success, String(usd));
  for (const usd of [1.6e-9, 4e-10, 0.123_456_789_1, 9_000_001]) {
    assert.ok(!CapUsd.safeParse(usd).success, String(usd));
  }
  for (const amount of [-1, 0.5, 2 ** 53]) assert.ok(!NanoAmount.safeParse(amount).success, String(amount));
});
