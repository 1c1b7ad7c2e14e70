import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RoundRobinQueue } from './round-robin-queue.ts';

test('owners take turns, each with its own in order', () => {
  const line = new RoundRobinQueue<string>();
  for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) line.add(item.slice(0, 1), item);
  const taken = [line.take(), line.take()];
  line.add('d', 'd1');
  for (let item = line.take(); item !== undefined; item = line.take()) taken.push(item);
  assert.deepEqual(taken, ['a1', 'b1', 'c1', 'a2', 'd1', 'c2', 'a3']);
  assert.equal(line.take(), undefined);
});

test('who had the last turn comes after those who came meanwhile', () => {
  const line = new RoundRobinQueue<string>();
  line.add('a', 'a1');
  assert.equal(line.take(), 'a1');
  line.add('a', 'a2');
  line.add('b', 'b1');
  assert.deepEqual([line.take(), line.take(), line.take()], ['b1', 'a2', undefined]);
});
