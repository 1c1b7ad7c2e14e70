import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sharedRead } from '../src/http/shared-read.ts';

const setUp = (options?: { readonly leastMs: number }) => {
  let now = 0;
  const begun: PromiseWithResolvers<number>[] = [];
  const read = sharedRead(
    { monotonic: () => now },
    () => {
      const answer = Promise.withResolvers<number>();
      begun.push(answer);
      return answer.promise;
    },
    options,
  );
  return { begun, read, pass: (ms: number): void => void (now += ms) };
};

test('whoever asks while a read is under way gets its answer, and so does who comes within as long as it took', async () => {
  const { begun, read, pass } = setUp();
  const first = [read(), read()];
  pass(40);
  first.push(read());
  begun[0]?.resolve(1);
  assert.deepEqual(await Promise.all(first), [1, 1, 1]);
  pass(39);
  assert.equal(await read(), 1);
  pass(1);
  const later = read();
  begun[1]?.resolve(2);
  assert.equal(await later, 2);
});

test('what is read quickly is news each time, unless it is to be shared for longer', async () => {
  for (const [options, reads] of [
    [undefined, 2],
    [{ leastMs: 250 }, 1],
  ] as const) {
    const { begun, read } = setUp(options);
    const first = read();
    begun[0]?.resolve(1);
    await first;
    void read();
    assert.equal(begun.length, reads);
  }
});

test('a read that failed is made again at once, however long it took', async () => {
  const { begun, read, pass } = setUp({ leastMs: 250 });
  const failed = read();
  pass(8000);
  begun[0]?.reject(new Error('away'));
  await assert.rejects(failed, /away/);
  const again = read();
  begun[1]?.resolve(3);
  assert.equal(await again, 3);
});
