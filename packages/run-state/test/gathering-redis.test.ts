/** Commands of one turn leave in one write, at its end, whatever is under way. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { openRedis } from './support.ts';

const name = (): string => `test-${randomUUID()}`;

test('what one turn sends is held back to its end and leaves in one write, in its order', async () => {
  const redis = await openRedis();
  await redis.ping();
  const { stream } = redis;
  const writes: number[] = [];
  const writev = stream._writev?.bind(stream);
  stream._writev = (chunks, done) => {
    writes.push(chunks.length);
    writev?.(chunks, done);
  };
  const key = name();
  const before = stream.bytesWritten;
  const pipeline = redis.pipeline().get(key).del(key);
  const replies = Promise.all([redis.set(key, 'a'), redis.append(key, 'b'), pipeline.exec(), redis.get(key)]);
  assert.ok(stream.writableCorked > 0);
  await turn();
  assert.equal(stream.writableCorked, 0);
  assert.ok(stream.bytesWritten > before);
  const gone = [
    [null, 'ab'],
    [null, 1],
  ];
  assert.deepEqual(await replies, ['OK', 2, gone, null]);
  assert.deepEqual(writes, [4], 'a pipeline is a piece of its own');
});

test('a reply that is due holds nothing back', async () => {
  const redis = await openRedis();
  const other = await openRedis();
  const key = name();
  const blocked = redis.blpop(key, 0);
  await turn();
  const before = redis.stream.bytesWritten;
  const behind = redis.echo('behind');
  await turn();
  assert.ok(redis.stream.bytesWritten > before);
  await other.rpush(key, 'x');
  assert.deepEqual(await Promise.all([blocked, behind]), [[key, 'x'], 'behind']);
});

test('a connection that breaks in the turn sends again on the next one', async () => {
  const redis = await openRedis();
  await redis.ping();
  const { stream } = redis;
  const reply = redis.echo('again');
  stream.destroy();
  assert.equal(await reply, 'again');
  assert.notEqual(redis.stream, stream);
  assert.equal(await redis.echo('and on'), 'and on');
});
