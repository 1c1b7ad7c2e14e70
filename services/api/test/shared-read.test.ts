import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedRead } from '../src/http/shared-read.ts';

const setUp = () => {
  let now = 0;
  const begun: PromiseWithResolvers<number>[] = [];
  const read = sharedRead({ monotonic: () => now }, () => {
    const answer = Promise.withResolvers<number>();
    begun.push(answer);
    return answer.promise;
  });
  return { begun, read, pass: (ms: number): void => void (now += ms) };
};

test('whoever asks while a read is under way, however long, or moments after, gets its answer', async () => {
  const { begun, read, pass } = setUp();
  const first = [read(), read()];
  pass(10_000);
  first.push(read());
  begun[0]?.resolve(1);
  assert.deepEqual(await Promise.all(first), [1, 1, 1]);
  const later = read();
  begun[1]?.resolve(2);
  assert.equal(await later, 2, 'that read began long ago');
  pass(250);
  assert.equal(await read(), 2);
  pass(1);
  void read();
  assert.equal(begun.length, 3);
});

test('a read that failed is made again', async () => {
  const { begun, read, pass } = setUp();
  const failed = read();
  begun[0]?.reject(new Error('away'));
  await assert.rejects(failed, /away/);
  pass(251);
  const again = read();
  begun[1]?.resolve(3);
  assert.equal(await again, 3);
});
