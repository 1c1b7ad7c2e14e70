import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { picoOf } from './pico.ts';
import { createPrices, PRICES_VERSION } from './prices.ts';
import { providers, knownModel } from '../catalogue.ts';

const at = (iso: string): { now(): number } => ({ now: () => Date.parse(iso) });
const prices = createPrices({ clock: at('2026-11-01T12:00:00Z') });

describe('picoOf', () => {
  it('converts the decimal digits, exactly', () => {
    assert.deepEqual(
      [1, 0.15, 0.0028, 0.1, 75, 1.25, 0].map(picoOf),
      [1_000_000, 150_000, 2800, 100_000, 75_000_000, 1_250_000, 0],
    );
  });
  it('rounds up below one pico-USD', () => {
    assert.equal(picoOf(0.08333333333333334), 83_334);
    assert.equal(picoOf(1e-9), 1);
  });
  it('refuses what is no price', () => {
    for (const bad of [-1, Number.NaN, Number.POSITIVE_INFINITY])
      assert.throws(() => picoOf(bad), RangeError);
  });
});

describe('prices', () => {
  it('names the installed catalogue', () => {
    const entry = new URL(import.meta.resolve('@pydantic/genai-prices'));
    const { version } = JSON.parse(readFileSync(new URL('../package.json', entry), 'utf8')) as {
      version: string;
    };
    assert.equal(PRICES_VERSION, `genai-prices@${version}`);
  });

  it('has the published rates', () => {
    const haiku = prices.priceOf('anthropic/claude-haiku-4-5');
    assert.deepEqual(haiku?.ratesFor(1000), {
      input: 1_000_000,
      output: 5_000_000,
      cacheRead: 100_000,
      cacheWrite: 1_250_000,
    });
    assert.equal(haiku.contextWindow, 200_000);
    assert.equal(haiku.version, PRICES_VERSION);
    // gpt-4o-mini has no rate of its own for cache writes
    const mini = prices.priceOf('openai/gpt-4o-mini');
    assert.deepEqual(mini?.ratesFor(1000), {
      input: 150_000,
      output: 600_000,
      cacheRead: 75_000,
      cacheWrite: 150_000,
    });
  });

  it('tiers apply to the whole request, from the token after their start', () => {
    const pro = prices.priceOf('gemini/gemini-2.5-pro');
    assert.equal(pro?.ratesFor(200_000).input, 1_250_000);
    assert.equal(pro.ratesFor(200_001).input, 2_500_000);
    assert.equal(pro.ratesFor(200_001).output, 15_000_000);
    assert.equal(pro.highestRates(200_000).output, 10_000_000);
    assert.equal(pro.highestRates(1_000_000).output, 15_000_000);
  });

  it('follows the date, though memoised', () => {
    let now = Date.parse('2026-08-20T23:59:59Z');
    const dated = createPrices({ clock: { now: () => now } });
    assert.equal(dated.priceOf('openai/gpt-5.6')?.ratesFor(1).output, 30_000_000);
    now = Date.parse('2026-08-21T00:00:00Z');
    assert.equal(dated.priceOf('openai/gpt-5.6')?.ratesFor(1).output, 20_000_000);
    assert.equal(dated.priceOf('openai/gpt-5.6'), dated.priceOf('openai/gpt-5.6'), 'one lookup a day');
  });

  it('takes the dearest hour where the price depends on the time of day', () => {
    for (const hour of ['00:00', '02:00', '08:00', '23:00']) {
      const price = createPrices({ clock: at(`2026-11-01T${hour}:00Z`) }).priceOf(
        'deepseek/deepseek-v4-flash',
      );
      assert.deepEqual(price?.ratesFor(1), {
        input: 440_000,
        output: 1_320_000,
        cacheRead: 14_000,
        cacheWrite: 440_000,
      });
    }
  });

  it('fails closed: no entry, no rate, or no catalogue is no price', () => {
    for (const model of [
      'openai/nope',
      'openai/whisper-1',
      'openai/text-embedding-3-small',
      'openai/moderation',
      'oauth-gpt/gpt-5.6',
      'nobody/x',
      'x',
    ])
      assert.equal(prices.priceOf(model), null, model);
  });

  it('mock models cost nothing', () => {
    const mock = prices.priceOf('mock/script');
    assert.equal(mock?.version, 'mock');
    assert.deepEqual(mock.highestRates(1e7), { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 });
  });

  it('an override stands before the catalogue and carries its own version', () => {
    const models = {
      'oauth-gpt/gpt-5.6': { input: 0.5, output: 2, cacheRead: 0.05 },
      'openai/gpt-4o-mini': { input: 9, output: 9 },
    };
    const own = createPrices({ clock: at('2026-11-01T00:00:00Z'), overrides: { version: 'own@1', models } });
    assert.equal(own.priceOf('oauth-gpt/gpt-5.6')?.version, 'own@1');
    assert.deepEqual(own.priceOf('oauth-gpt/gpt-5.6')?.ratesFor(1), {
      input: 500_000,
      output: 2_000_000,
      cacheRead: 50_000,
      cacheWrite: 500_000,
    });
    assert.equal(own.priceOf('openai/gpt-4o-mini')?.ratesFor(1).input, 9_000_000);
    assert.equal(own.priceOf('openai/gpt-4o')?.version, PRICES_VERSION);
  });

  it('every default model of the catalogue can be called, except the bridge that has no price of its own', () => {
    const unknown = providers
      .filter(({ default_model }) => !knownModel(prices, default_model))
      .map(({ provider }) => provider);
    assert.deepEqual(unknown, ['oauth-gpt']);
  });

  it('knows no mock but its two, and no provider but the listed', () => {
    assert.deepEqual(
      ['mock/echo', 'mock/script', 'mock/other', 'acme/gpt-4o-mini'].map((model) =>
        knownModel(prices, model),
      ),
      [true, true, false, false],
    );
  });
});
