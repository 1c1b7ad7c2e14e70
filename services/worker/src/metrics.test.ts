import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWorkerMetrics } from './metrics.ts';

const call = { outcome: 'ok', ms: 10, usage: null, observedNano: 1 };

test('models that a tenant makes up share one label, in each metric that has it', async () => {
  const metrics = createWorkerMetrics();
  for (let n = 0; n < 2000; n += 1) {
    metrics.callEnded(`anthropic/claude-haiku-4-5-${n}`, call);
    metrics.callEnded(`anthropic/claude-haiku-4-5-${n}`, { ...call, outcome: 'provider_error' });
  }
  metrics.charged('anthropic/claude-haiku-4-5-late', 1);
  const text = await metrics.registry.render();
  const models = new Set([...text.matchAll(/model="([^"]*)"/g)].map(([, model]) => model));
  assert.ok(models.has('other') && !models.has('claude-haiku-4-5-late'));
  assert.ok(models.size <= 201, `${models.size} models`);
});
