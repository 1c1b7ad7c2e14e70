import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { freePort, LOOPBACK } from './ports.ts';

test('a taken port is passed over for the next free one', async () => {
  const preferred = await freePort();
  const server = createServer().listen(preferred, LOOPBACK);
  await once(server, 'listening');
  try {
    assert.ok((await freePort(preferred)) > preferred);
  } finally {
    server.close();
  }
  assert.equal(await freePort(preferred), preferred);
});
