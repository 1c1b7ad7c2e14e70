import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Repeats } from './repeats.ts';

test('the same is admitted once a minute, with how often it came in between', () => {
  const repeats = new Repeats();
  assert.equal(repeats.admit('a', 0), 0);
  assert.equal(repeats.admit('a', 1000), null);
  assert.equal(repeats.admit('b', 1000), 0);
  assert.equal(repeats.admit('a', 59_999), null);
  assert.equal(repeats.admit('a', 60_000), 2);
  assert.equal(repeats.admit('a', 60_001), null);
  assert.equal(repeats.admit('a', 120_000), 1);
});

test('of many kinds the one that was told longest ago is forgotten', () => {
  const repeats = new Repeats();
  repeats.admit('first', 0);
  for (let i = 0; i < 499; i += 1) repeats.admit(`other ${i}`, 1);
  assert.equal(repeats.admit('first', 2), null);
  repeats.admit('one more', 2);
  assert.equal(repeats.admit('first', 3), 0);
});
