import assert from 'node:assert/strict';
import { it } from 'node:test';
import { NO_USAGE } from '@signalbox/contracts';
import { plausibleUsage } from './plausible-usage.ts';

const bound = { inputBound: 1000, maxOutputTokens: 100 };
const MOST_INPUT = 67_536;
const MOST_OUTPUT = 65_736;

it('a usage may be twice the bound and a large budget of hidden tokens, each way, and no token more', () => {
  for (const [field, most] of [
    ['input_tokens', MOST_INPUT],
    ['cache_read_tokens', MOST_INPUT],
    ['cache_write_tokens', MOST_INPUT],
    ['output_tokens', MOST_OUTPUT],
  ] as const) {
    const usage = { ...NO_USAGE, [field]: most };
    assert.equal(plausibleUsage(usage, bound), usage, field);
    assert.equal(plausibleUsage({ ...usage, [field]: most + 1 }, bound), null, field);
  }
});

it('the caches count together, and not on top of the input they are part of', () => {
  const cached = { ...NO_USAGE, cache_read_tokens: MOST_INPUT, cache_write_tokens: 0 };
  assert.ok(plausibleUsage({ ...cached, input_tokens: MOST_INPUT }, bound));
  assert.equal(plausibleUsage({ ...cached, cache_write_tokens: 1 }, bound), null);
});
