import assert from 'node:assert/strict';
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { until } from '@signalbox/local';
import { ManualClock } from '@signalbox/runtime';
import { startServer } from '../src/http/http-server.ts';

/** Answers at once, except to /slow, which waits until it is let go. */
const serve = async (t: TestContext) => {
  const slow: ServerResponse[] = [];
  const server = createServer((req, res) => void (req.url === '/slow' ? slow.push(res) : res.end('ok')));
  const started = await startServer(server, { port: 0, host: '127.0.0.1' });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const get = (path: string, via: Agent | false = agent): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      request({ port: started.port, host: '127.0.0.1', path, agent: via }, (response) => {
        response.resume().once('end', () => resolve(response));
      })
        .once('error', reject)
        .end();
    });
  return { server: started, slow, agent, get };
};

test('while it leaves it serves everybody, and each answer closes its connection', async (t) => {
  const { server, slow, agent, get } = await serve(t);
  const clock = new ManualClock();
  assert.equal((await get('/')).headers.connection, 'keep-alive');
  const before = get('/slow', false);
  await until('/slow', () => slow.length === 1);
  let closing = false;
  const stopped = server.stop({
    leaveMs: 5000,
    finishMs: 5000,
    onClosing: () => void (closing = true),
    clock,
  });
  const kept = await get('/');
  assert.equal(kept.headers.connection, 'close', 'the connection was kept until now');
  assert.equal((await get('/', false)).statusCode, 200, 'new connections are taken');
  slow[0]?.end('late');
  assert.equal((await before).headers.connection, 'close', 'it was asked before the stop');
  assert.equal(closing, false);
  await clock.advance(5000);
  await stopped;
  assert.equal(closing, true);
  assert.equal(Object.keys(agent.freeSockets).length, 0);
  await assert.rejects(get('/', false), /ECONNREFUSED/);
});

test('when it closes idle connections go at once, answers under way are finished', async (t) => {
  const { server, slow, get } = await serve(t);
  const unused = connect(server.port, '127.0.0.1');
  await once(unused, 'connect');
  const ended = once(unused, 'close');
  const pending = get('/slow', false);
  await until('/slow', () => slow.length === 1);
  const stopped = server.stop({ leaveMs: 0, finishMs: 60_000, onClosing: () => undefined });
  await ended;
  slow[0]?.end('late');
  assert.equal((await pending).statusCode, 200);
  await stopped;
});

test('an answer that does not come is cut in the end', async (t) => {
  const { server, slow, get } = await serve(t);
  const pending = get('/slow', false);
  const cut = assert.rejects(pending, /socket hang up|ECONNRESET/);
  await until('/slow', () => slow.length === 1);
  await server.stop({ leaveMs: 0, finishMs: 50, onClosing: () => undefined });
  await cut;
});
