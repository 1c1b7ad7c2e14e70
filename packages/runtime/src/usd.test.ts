import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseUsd } from './usd.ts';

const cases: Array<[string, number | undefined]> = [
  ['0', 0],
  ['1', 1_000_000_000],
  ['0.1', 100_000_000],
  ['0.29', 290_000_000],
  ['0.000000001', 1],
  ['20.50', 20_500_000_000],
  ['8999999.999999999', 8_999_999_999_999_999],
  ['9000000', 9_000_000_000_000_000],
  ['9000000.000000001', undefined],
  ['9999999999999999', undefined],
  ['0.0000000001', undefined],
  ['1e-9', undefined],
  ['-1', undefined],
  ['+1', undefined],
  ['.5', undefined],
  ['5.', undefined],
  ['1,000', undefined],
  ['$1', undefined],
  [' 1', undefined],
  ['NaN', undefined],
  ['', undefined],
];

for (const [text, nano] of cases) {
  test(`"${text}" is ${nano === undefined ? 'refused' : `${nano} nano-USD`}`, () => {
    assert.equal(parseUsd(text), nano);
  });
}

test('every nano-USD amount written as a decimal is read back exactly', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 9_000_000n * 10n ** 9n), (nano) => {
      const text = `${nano / 10n ** 9n}.${String(nano % 10n ** 9n).padStart(9, '0')}`;
      assert.equal(parseUsd(text), Number(nano));
    }),
  );
});
