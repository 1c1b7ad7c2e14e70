import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ConfigError, parseEnv } from '@signalbox/runtime';
import { z } from 'zod';
import { priceOverridesFile } from './price-overrides.ts';
import { createPrices, PRICES_VERSION } from './prices.ts';

const dir = mkdtempSync(join(tmpdir(), 'prices-'));
after(() => rmSync(dir, { recursive: true }));

const read = (content: unknown) => {
  const path = join(dir, 'prices.json');
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return parseEnv(z.object({ PRICE_OVERRIDES_FILE: priceOverridesFile }), { PRICE_OVERRIDES_FILE: path });
};

const rates = { input: 3, output: 15 };
const clock = { now: () => Date.parse('2026-11-21T12:00:00Z') };

test('prices of the file stand before the catalogue, under their own version', () => {
  const models = {
    'anthropic/claude-haiku-4-5': { ...rates, cache_read: 0.3, context_window: 9 },
    'oauth-gpt/gpt-5.6': { input: 0, output: 0 },
  };
  const { PRICE_OVERRIDES_FILE: overrides } = read({ version: 'acme-1', models });
  assert.ok(overrides !== undefined);
  const prices = createPrices({ clock, overrides });
  const own = prices.priceOf('anthropic/claude-haiku-4-5');
  assert.deepEqual([own?.version, own?.contextWindow], ['acme-1', 9]);
  assert.deepEqual(own?.highestRates(1_000_000), {
    input: 3_000_000,
    output: 15_000_000,
    cacheRead: 300_000,
    cacheWrite: 3_000_000,
  });
  assert.equal(prices.priceOf('oauth-gpt/gpt-5.6')?.ratesFor(1).input, 0);
  assert.equal(prices.priceOf('openai/gpt-4o-mini')?.version, PRICES_VERSION);
});

test('no variable, no overrides', () => {
  const env = parseEnv(z.object({ PRICE_OVERRIDES_FILE: priceOverridesFile }), {});
  assert.equal(env.PRICE_OVERRIDES_FILE, undefined);
});

test('a byte order mark, as some editors write it, is no part of the file', () => {
  const text = JSON.stringify({ version: 'a', models: { 'openai/x': rates } });
  assert.deepEqual(Object.keys(read(`\ufeff${text}`).PRICE_OVERRIDES_FILE?.models ?? {}), ['openai/x']);
});

const BAD: readonly [name: string, content: unknown, says: RegExp][] = [
  ['no JSON', '{', /JSON/],
  ['no version', { models: {} }, /version/],
  ['the name of built-in prices', { version: PRICES_VERSION, models: {} }, /version: is the name/],
  ['an unknown provider', { version: 'a', models: { 'acme/x': rates } }, /acme\/x/],
  ['a negative rate', { version: 'a', models: { 'openai/x': { ...rates, input: -1 } } }, /input/],
  ['no output rate', { version: 'a', models: { 'openai/x': { input: 1 } } }, /output/],
  [
    'a model twice, however it is written',
    '{"version": "a", "models": {"openai/x": {"input": 9, "output": 9}, "openai\\/x" : {"input": 1, "output": 1}}}',
    /models\.openai\/x: stands there twice/,
  ],
  [
    'more than one problem: all are told',
    { version: 'a', models: { 'openai/x': { ...rates, input: -1 }, 'openai/y': { input: 1 } } },
    /openai\/x\.input: .*; models\.openai\/y\.output: /,
  ],
  ['an unknown field', { version: 'a', models: { 'openai/x': { ...rates, cacheRead: 1 } } }, /cacheRead/],
];
for (const [name, content, says] of BAD) {
  test(`a file is refused when the process starts: ${name}`, () => {
    assert.throws(
      () => read(content),
      (error) =>
        error instanceof ConfigError &&
        says.test(error.message) &&
        error.message.includes('PRICE_OVERRIDES_FILE is malformed'),
    );
  });
}

test('a file that is not there is named as such', () => {
  assert.throws(
    () =>
      parseEnv(z.object({ PRICE_OVERRIDES_FILE: priceOverridesFile }), { PRICE_OVERRIDES_FILE: dir + '/no' }),
    /ENOENT/,
  );
});
