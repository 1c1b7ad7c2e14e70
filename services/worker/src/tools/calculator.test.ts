import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ManualClock } from '@signalbox/runtime';
import { calculator } from './calculator.ts';
import { ToolError } from './tool.ts';

const context = {
  signal: new AbortController().signal,
  idempotencyKey: 'run:1:c',
  clock: new ManualClock(),
};
const value = (expression: string): Promise<string> => calculator.execute({ expression }, context);
const refused = (code: ToolError['code']) => (error: unknown) =>
  error instanceof ToolError && error.code === code;

describe('calculator', () => {
  const known: [string, string][] = [
    ['1 + 2 * 3', '7'],
    ['(1 + 2) * 3', '9'],
    ['10 - 4 - 3', '3'],
    ['2 ^ 10', '1024'],
    ['2 ** 3 ** 2', '512'],
    ['2 ^ 3 ^ 2', '512'],
    ['2 * 3 ^ 2', '18'],
    ['-2 ^ 2', '-4'],
    ['(-2) ^ 2', '4'],
    ['2 ^ -1', '0.5'],
    ['--3', '3'],
    ['7 % 4', '3'],
    ['.5 + 1e3', '1000.5'],
    ['sqrt(2) ^ 2 > 0 ? 1 : 0', 'refused'],
    ['max(1, sqrt(16), 3) + abs(-2)', '6'],
    ['round(2 * pi) + floor(e)', '8'],
    ['pow(2, 8) / log2(8)', String(256 / 3)],
    ['12345678901234567.89 + 0.01', '12345678901234567.9'],
    ['0.1 + 0.2', '0.3'],
    ['floor(4.35 * 100)', '435'],
    ['1 / 3 * 3', '1'],
    ['123456789 * 987654321', '121932631112635269'],
    ['9007199254740993', '9007199254740993'],
    ['2 ^ 100', '1267650600228229401496703205376'],
    ['2 ^ 0.5', String(Math.SQRT2)],
    ['1e-7 * 1', '1e-7'],
    ['round(-2.5)', '-3'],
    ['-7 % 3', '-1'],
    ['(3 + 4) * sqrt(4)', '14'],
  ];
  for (const [expression, expected] of known) {
    test(`${expression} is ${expected}`, async () => {
      if (expected === 'refused') await assert.rejects(value(expression), refused('invalid_arguments'));
      else assert.equal(await value(expression), expected);
    });
  }

  test('what is no finite number is an error the model can read', async () => {
    for (const expression of ['1 / 0', '0 / 0', 'sqrt(-1)', '10 ^ 400', 'max()']) {
      await assert.rejects(value(expression), refused('tool_error'), expression);
    }
  });

  test('what is no arithmetic is refused', async () => {
    const hostile = [
      'constructor',
      '__proto__',
      'toString()',
      'constructor()',
      'hasOwnProperty("pi")',
      'pi.constructor',
      'pi["constructor"]("return process")()',
      'this',
      '[1, 2]',
      '"text"',
      'true',
      '1; 2',
      '(1, 2)',
      '()',
      '1 +',
      '1 + + ',
      '((1)',
      '!1',
      '~1',
      '1 << 2',
      'a = 1',
      'import("node:fs")',
      '\u0000',
      '2 2',
    ];
    for (const expression of hostile) {
      await assert.rejects(value(expression), refused('invalid_arguments'), expression);
    }
  });

  test('depth within the longest expression does no harm', async () => {
    assert.equal(await value(`${'('.repeat(490)}1${')'.repeat(490)}`), '1');
    assert.equal(await value(`${'-'.repeat(998)}1`), '1');
    assert.equal(await value(`1${'^1'.repeat(499)}`), '1');
    assert.equal(await value(`${'abs('.repeat(190)}-1${')'.repeat(190)}`), '1');
    const slowest = Array.from({ length: 110 }, () => '1.1^1e15').join('+');
    await assert.rejects(value(slowest), refused('tool_error'));
    assert.equal(calculator.parameters.safeParse({ expression: '1'.repeat(1001) }).success, false);
  });
});
