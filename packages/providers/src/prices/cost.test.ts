import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_NANO, type Price, type Usage } from '@signalbox/contracts';
import fc from 'fast-check';
import { affordableOutputTokens, costNano, worstCaseNano } from './cost.ts';
import { flat, priceOf, type RateSteps } from './price-schedule.ts';

const rate = fc.integer({ min: 0, max: 100_000_000 });
const steps: fc.Arbitrary<RateSteps> = fc.record({
  base: rate,
  steps: fc
    .uniqueArray(fc.record({ above: fc.integer({ min: 1, max: 500_000 }), rate }), {
      maxLength: 3,
      selector: (s) => s.above,
    })
    .map((list) => list.toSorted((a, b) => a.above - b.above)),
});
const price: fc.Arbitrary<Price> = fc
  .record({ input: steps, output: steps, cacheRead: steps, cacheWrite: steps })
  .map((schedule) => priceOf('test', schedule, null));

/** Usage within a bound: caches are part of the input. */
const bounded = fc.tuple(fc.nat(10_000_000), fc.nat(1_000_000)).chain(([inputBound, maxOutputTokens]) =>
  fc.record({
    bound: fc.constant({ inputBound, maxOutputTokens }),
    usage: fc
      .tuple(
        fc.nat(inputBound),
        fc.nat(maxOutputTokens),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
      )
      .map(([input, output, read, write]): Usage => {
        const cacheRead = Math.floor(input * read);
        return {
          input_tokens: input,
          output_tokens: output,
          cache_read_tokens: cacheRead,
          cache_write_tokens: Math.floor((input - cacheRead) * write),
        };
      }),
  }),
);

describe('money of a call', () => {
  it('R1: the worst case covers every usage within the bound', () => {
    fc.assert(
      fc.property(price, bounded, (p, { bound, usage }) => costNano(usage, p) <= worstCaseNano(bound, p)),
      { numRuns: 2000 },
    );
  });

  it('what is affordable fits, and one token more does not', () => {
    fc.assert(
      fc.property(price, fc.nat(2_000_000), fc.nat(9_000_000_000_000), (p, inputBound, room) => {
        const tokens = affordableOutputTokens(room, inputBound, p);
        if (tokens === Number.MAX_SAFE_INTEGER) return p.highestRates(inputBound).output === 0;
        const fits = (maxOutputTokens: number): boolean =>
          worstCaseNano({ inputBound, maxOutputTokens }, p) <= room;
        return (tokens === 0 || fits(tokens)) && !fits(tokens + 1);
      }),
      { numRuns: 2000 },
    );
  });

  const at = (input: number, output: number): Price =>
    priceOf('v', { input: flat(input), output: flat(output), cacheRead: flat(1), cacheWrite: flat(2) }, null);
  const usage = { input_tokens: 0, output_tokens: 0, cache_read_tokens: 0, cache_write_tokens: 0 };

  it('rounds up once, not per part', () => {
    // 1 x 1 + 1 x 1 pico = 2 pico -> 1 nano, not 2
    assert.equal(costNano({ ...usage, input_tokens: 1, output_tokens: 1 }, at(1, 1)), 1);
    assert.equal(costNano(usage, at(1, 1)), 0);
  });

  it('is exact where doubles are not', () => {
    // 10,000,001 x 100,000,000 pico + 1 pico: the sum is above 2^53
    const big = { ...usage, input_tokens: 10_000_001, output_tokens: 1 };
    assert.equal(costNano(big, at(100_000_000, 1)), 1_000_000_100_001);
  });

  it('is never more than the largest cap, whatever is counted', () => {
    const most = Number.MAX_SAFE_INTEGER;
    const all = { input_tokens: most, output_tokens: most, cache_read_tokens: most, cache_write_tokens: 0 };
    assert.equal(costNano(all, at(150_000, 600_000)), MAX_NANO);
    assert.equal(worstCaseNano({ inputBound: most, maxOutputTokens: most }, at(150_000, 1)), MAX_NANO);
  });

  it('more cached than input is charged as input that large', () => {
    assert.equal(costNano({ ...usage, input_tokens: 5, cache_read_tokens: 3000 }, at(1000, 1)), 3);
  });

  it('a room that does not even hold the input affords nothing', () => {
    assert.equal(affordableOutputTokens(9, 10, at(1000, 1000)), 0);
    assert.equal(affordableOutputTokens(10, 10, at(1000, 1000)), 0);
    assert.equal(affordableOutputTokens(11, 10, at(1000, 1000)), 1);
  });
});
