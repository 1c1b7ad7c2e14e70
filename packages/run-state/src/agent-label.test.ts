import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAgentLabel } from './agent-label.ts';

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
