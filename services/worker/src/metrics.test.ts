import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWorkerMetrics } from './metrics.ts';

test('only what the provider is to blame for is counted as its error', async () => {
  const metrics = createWorkerMetrics();
  const ended = (outcome: string, ms: number): void =>
    metrics.callEnded('openai/gpt-4o-mini', { outcome, ms, usage: null });
  ended('ok', 10);
  ended('aborted', 60_000);
  ended('worker_stopped', 60_000);
  ended('timeout', 2000); // the run's limit was short
  ended('timeout', 60_000);
  ended('provider_error', 10);
  const text = await metrics.registry.render();
  const errors = [...text.matchAll(/^signalbox_llm_errors_total\{.*code="(\w+)"\} (\d+)$/gm)];
  assert.deepEqual(
    errors.map(([, code, count]) => [code, count]),
    [
      ['timeout', '1'],
      ['provider_error', '1'],
    ],
  );
  for (const outcome of ['aborted', 'worker_stopped', 'timeout'])
    assert.match(
      text,
      new RegExp(`llm_request_duration_seconds_count\\{.*outcome="${outcome}"`),
      'all are seen',
    );
});

const call = { outcome: 'ok', ms: 10, usage: null };

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
