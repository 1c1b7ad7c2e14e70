import assert from 'node:assert/strict';
import { readdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { startRedis, temporaryDir } from '@signalbox/local';
import { systemClock } from '@signalbox/runtime';
import { disconnect, openPartition } from '../src/index.ts';
import { rewriteAppendLog } from '../src/redis/append-log.ts';
import { openRedis } from './support.ts';

/** Cuts the file within its last transaction, as a machine does that loses its power. */
const cutLastTransaction = async (dir: string): Promise<void> => {
  const folder = join(dir, 'appendonlydir');
  const name =
    (await readdir(folder))
      .filter((file) => file.endsWith('.incr.aof'))
      .toSorted()
      .at(-1) ?? '';
  const text = await readFile(join(folder, name), 'latin1');
  // Into the second command of it.
  const at = text.indexOf('second', text.lastIndexOf('MULTI'));
  assert.ok(at > 0, 'the file ends with a transaction');
  await truncate(join(folder, name), at + 2);
};

const PAIR = "redis.call('RPUSH', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[1])";

for (const rewritten of [false, true]) {
  test(`half a transaction ${rewritten ? 'does not come' : 'would come'} back with the start after next`, async (t) => {
    const dir = await temporaryDir();
    const server = await startRedis({ dir, fsync: 'no' });
    t.after(() => server.stop());
    const redis = await openRedis('state', server.url);
    const pair = (value: string): Promise<unknown> => redis.eval(PAIR, 2, 'first', 'second', value);
    const state = async (): Promise<unknown> => [
      await redis.lrange('first', 0, -1),
      await redis.get('second'),
    ];
    const again = async (): Promise<void> => {
      await server.start();
      await redis.ping();
    };
    await pair('1');
    await pair('2');
    await server.kill();
    await cutLastTransaction(dir);
    await again();
    assert.deepEqual(await state(), [['1'], '1'], 'the half one is not there');
    if (rewritten) assert.equal(await rewriteAppendLog(openPartition(redis), systemClock), 'written');
    await pair('3');
    await server.kill();
    await again();
    const right = [['1', '3'], '3'];
    if (rewritten) assert.deepEqual(await state(), right);
    else
      assert.notDeepEqual(
        await state(),
        right,
        'if this holds, Redis was mended and the rewrite is not needed',
      );
    await disconnect(redis);
  });
}

test('without an append-only file there is nothing to write anew', async (t) => {
  const server = await startRedis({ dir: await temporaryDir() });
  t.after(() => server.stop());
  const redis = await openRedis('state', server.url);
  await redis.config('SET', 'appendonly', 'no');
  assert.equal(await rewriteAppendLog(openPartition(redis), systemClock), 'off');
  await disconnect(redis);
});
