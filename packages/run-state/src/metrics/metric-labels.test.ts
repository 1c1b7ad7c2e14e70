import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentLabel, createModelLabels } from './metric-labels.ts';

test('the first agents keep their names, all others share one', () => {
  const label = createAgentLabel(2);
  assert.deepEqual(['a', 'b', 'a', 'c', null, 'd', 'b'].map(label), [
    'a',
    'b',
    'a',
    'other',
    'inline',
    'other',
    'b',
  ]);
});

test('the first models keep their names, all others of a provider share one', () => {
  const labels = createModelLabels(2);
  const shown = ['openai/a', 'groq/a', 'groq/b', 'openai/a', 'openai/c'].map((ref) => labels(ref));
  assert.deepEqual(
    shown.map(({ provider, model }) => `${provider}/${model}`),
    ['openai/a', 'groq/a', 'groq/other', 'openai/a', 'openai/other'],
  );
});
