/** The proxy breaks what it says it breaks, so that a fault that was never there cannot pass for a survived one. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@signalbox/local';
import { startTcpProxy } from './tcp-proxy.ts';

/** Answers every piece with itself, and remembers it. */
const startEcho = async () => {
  const got: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      got.push(bytes.toString());
      socket.write(bytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  after(() => server.close());
  return { port: (server.address() as AddressInfo).port, got };
};

const startBoth = async () => {
  const echo = await startEcho();
  const proxy = await startTcpProxy(echo.port, () => 0.5);
  after(() => proxy.stop());
  return { echo, proxy };
};

const open = async (port: number): Promise<{ socket: Socket; text: () => string }> => {
  const socket = connect({ port, host: '127.0.0.1' });
  let text = '';
  socket.on('data', (bytes: Buffer) => (text += bytes.toString()));
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return { socket, text: () => text };
};

const eventually = (what: string, holds: () => boolean): Promise<true> =>
  waitFor(() => holds() || undefined, { what, timeoutMs: 5000, everyMs: 5 });

test('a hole keeps both directions, closes nothing, and lets all of it arrive later', async () => {
  const { echo, proxy } = await startBoth();
  const { socket, text } = await open(proxy.port);
  socket.write('a');
  await eventually('an answer', () => text() === 'a');
  proxy.setMode({ kind: 'hole' });
  socket.write('b');
  await eventually('the piece to be held', () => proxy.counts.heldBytes === 1);
  await sleep(50);
  assert.deepEqual([echo.got.join(''), text(), socket.destroyed], ['a', 'a', false]);
  proxy.setMode({ kind: 'pass' });
  await eventually('the late answer', () => text() === 'ab');
  socket.destroy();
});

test('a request written before its client went away still arrives when the hole ends', async () => {
  const { echo, proxy } = await startBoth();
  const { socket } = await open(proxy.port);
  proxy.setMode({ kind: 'hole' });
  socket.end('late');
  await eventually('the piece to be held', () => proxy.counts.heldBytes === 4);
  proxy.setMode({ kind: 'pass' });
  await eventually('it to arrive', () => echo.got.join('') === 'late');
});

test('swallowed replies: the request arrives, and that it comes again is counted', async () => {
  const { echo, proxy } = await startBoth();
  const { socket, text } = await open(proxy.port);
  proxy.setMode({ kind: 'swallow' });
  const request = 'x'.repeat(1000) + 'end';
  socket.write(request);
  await eventually('the reply to be lost', () => proxy.counts.swallowedBytes === request.length);
  const closed = new Promise((resolve) => socket.once('close', resolve));
  assert.equal(proxy.cut(), 1);
  await closed;
  assert.deepEqual([text(), echo.got.join('')], ['', request]);
  proxy.setMode({ kind: 'pass' });
  const again = await open(proxy.port);
  again.socket.write('y'.repeat(1000));
  await eventually('an answer', () => again.text().length === 1000);
  assert.equal(proxy.counts.resent, 0);
  again.socket.write(request);
  await eventually('the resend', () => proxy.counts.resent === 1);
  again.socket.destroy();
});

test('slow pieces wait, in their order', async () => {
  const { proxy } = await startBoth();
  const { socket, text } = await open(proxy.port);
  proxy.setMode({ kind: 'slow', delayMs: 20, jitterMs: 20 });
  const startedAt = performance.now();
  for (const piece of ['1', '2', '3']) {
    socket.write(piece);
    await sleep(5);
  }
  await eventually('the answers', () => text() === '123');
  assert.ok(performance.now() - startedAt >= 2 * 20);
  assert.ok(proxy.counts.delayedBytes >= 3);
  socket.destroy();
});
