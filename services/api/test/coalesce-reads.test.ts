import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { coalesceReads } from '../src/runs/coalesce-reads.ts';

test('those who ask in one turn share an answer, also when asked by what a promise woke', async () => {
  const shared = coalesceReads<number>();
  let works = 0;
  const ask = (name: string): Promise<number> => shared(name, async () => (works += 1));
  const answers = [ask('a'), Promise.resolve().then(() => ask('a')), ask('b')];
  assert.deepEqual(await Promise.all(answers), [1, 1, 2]);
});

test('nobody joins what was begun in an earlier turn, though it has no answer yet', async () => {
  const shared = coalesceReads<string>();
  const first = Promise.withResolvers<string>();
  const early = shared('a', () => first.promise);
  await nextTurn();
  const late = shared('a', async () => 'late');
  first.resolve('early');
  assert.deepEqual([await early, await late], ['early', 'late']);
});
