/** An address that stays while another server becomes the master: the sockets to the old one stay open. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startRedis, temporaryDir } from '@signalbox/local';
import { disconnect } from '../src/index.ts';
import { openRedis } from './support.ts';
import { startProxy } from './tcp-proxy.ts';

const start = async () => startRedis({ dir: await temporaryDir() });
const placeOf = ({ port }: { port: number }) => ({ host: '127.0.0.1', port });

test('a connection whose master was demoted asks its address anew', async () => {
  const [old, next] = await Promise.all([start(), start()]);
  const address = await startProxy(placeOf(old));
  const redis = await openRedis('state', address.url);
  const operator = await openRedis('state', old.url);
  after(async () => {
    await Promise.all([disconnect(redis), disconnect(operator)]);
    await Promise.all([address.close(), old.stop(), next.stop()]);
  });
  await redis.set('before', '1');
  await operator.replicaof('127.0.0.1', next.port);
  address.retarget(placeOf(next));
  await assert.rejects(redis.set('refused', '1'), /^ReplyError: READONLY/);
  assert.equal(await redis.set('after', '1'), 'OK');
  assert.match(await redis.info('server'), new RegExp(`tcp_port:${next.port}`));
});
