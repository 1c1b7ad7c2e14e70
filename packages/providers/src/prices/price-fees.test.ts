/** What is billed beside tokens has no price that tokens tell (R1). */
import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import { updatePrices, waitForUpdate } from '@pydantic/genai-prices';
import { createPrices, PRICES_VERSION } from './prices.ts';

const clock = { now: () => Date.UTC(2026, 10, 1) };

it('a name that tells of searches or of more than text has no price, whatever rates the catalogue finds', () => {
  const prices = createPrices({ clock });
  for (const model of [
    'openai/gpt-4o-mini-search-preview',
    'openai/gpt-4o-search-preview',
    'openai/o3-deep-research',
    'openai/gpt-4o-audio-preview',
    'openai/gpt-realtime',
    'openai/gpt-image-1',
    'openai/gpt-4o-mini-tts',
    'openai/gpt-4o-transcribe',
    'openrouter/perplexity/sonar',
    'openrouter/perplexity/sonar-pro',
    'openrouter/perplexity/sonar-reasoning',
    'openrouter/relace/relace-search',
    'openrouter/perplexity/llama-3.1-sonar-large-128k-online',
    'gemini/gemini-3.8-flash-image',
    'gemini/gemini-3.8-flash-image-preview',
    'gemini/gemini-live-2.5-flash',
    'gemini/gemini-2.5-flash-native-audio-preview-09-2025',
  ])
    assert.equal(prices.priceOf(model), null, model);
  for (const model of ['openai/gpt-5', 'openrouter/nousresearch/hermes-4-70b', 'gemini/gemini-3.8-flash'])
    assert.equal(prices.priceOf(model)?.version, PRICES_VERSION, model);
});

it('the operator may name a price that takes such fees in', () => {
  const models = { 'openrouter/perplexity/sonar': { input: 20, output: 20 } };
  const prices = createPrices({ clock, overrides: { version: 'own@1', models } });
  assert.equal(prices.priceOf('openrouter/perplexity/sonar')?.version, 'own@1');
});

it('an entry with a fee for each request has no price; fees of tools that we never offer do not matter', async () => {
  // The library has one catalogue per process, and test files share one.
  const bundled = await waitForUpdate();
  after(() => updatePrices(({ setProviderData }) => setProviderData(bundled)));
  const model = (id: string, prices: Record<string, number>) => ({ id, match: { equals: id }, prices });
  const tokens = { input_mtok: 1, output_mtok: 2 };
  updatePrices(({ setProviderData }) => {
    setProviderData([
      {
        id: 'openai',
        name: 'OpenAI',
        api_pattern: 'x',
        models: [
          model('plain', tokens),
          model('with-tools', { ...tokens, web_searches_kcount: 10, storage_searches_kcount: 2.5 }),
          model('by-request', { ...tokens, requests_kcount: 12 }),
          model('by-what-may-come', { ...tokens, new_fee: 1 }),
        ],
      },
    ]);
  });
  const prices = createPrices({ clock });
  assert.deepEqual(
    ['plain', 'with-tools', 'by-request', 'by-what-may-come'].map(
      (id) => prices.priceOf(`openai/${id}`) !== null,
    ),
    [true, true, false, false],
  );
});
