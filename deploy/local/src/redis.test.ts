import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { freePort } from './ports.ts';
import { startRedis } from './redis.ts';
import { temporaryDir } from './test-services.ts';

async function command(port: number, line: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.write(`${line}\r\n`);
  const [data] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return data.toString();
}

test('keeps its data and its port over stop and kill', async () => {
  const redis = await startRedis({ dir: await temporaryDir(), fsync: 'no' });
  assert.equal(await command(redis.port, 'SET k v'), '+OK\r\n');
  await redis.stop();
  await assert.rejects(command(redis.port, 'PING'), { code: 'ECONNREFUSED' });
  await redis.start();
  assert.match(await command(redis.port, 'GET k'), /v/);
  await redis.kill();
  await redis.start();
  assert.match(await command(redis.port, 'GET k'), /v/);
  await redis.stop();
});

test('never evicts, writes an append-only file, takes the next port when the preferred one is taken', async () => {
  const port = await freePort();
  const first = await startRedis({ dir: await temporaryDir(), port });
  const second = await startRedis({ dir: await temporaryDir(), port });
  assert.equal(first.port, port);
  assert.ok(second.port > port);
  assert.match(await command(second.port, 'CONFIG GET maxmemory-policy'), /noeviction/);
  assert.match(await command(second.port, 'CONFIG GET appendonly'), /yes/);
  await Promise.all([first.stop(), second.stop()]);
});
