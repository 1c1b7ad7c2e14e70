import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, maxHeaderSize, type RequestListener } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { getRequestListener } from '@hono/node-server';
import { until } from '@signalbox/local';
import { startServer } from '../src/http/http-server.ts';
import { Problem } from '../src/http/problem.ts';
import { answerUnread } from '../src/http/unread-requests.ts';

const TIMES = { headersTimeout: 200, requestTimeout: 200, connectionsCheckingInterval: 20 };

const serve = async (t: TestContext, answer: RequestListener) => {
  const server = createServer(TIMES, answer);
  const { port } = await startServer(server, { port: 0, host: '127.0.0.1' });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  /** All that comes back for these bytes, until the server closes the connection. */
  const talk = (bytes: string): Promise<string> => {
    const socket = connect(port, '127.0.0.1');
    socket.write(bytes);
    return text(socket);
  };
  return { port, talk };
};

const problemIn = (answer: string) => {
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  assert.match(head, /content-type: application\/problem\+json/i);
  const { status, code, error } = Problem.parse(JSON.parse(body));
  assert.equal(error.code, code);
  return { line: head.split('\r\n')[0], status, code };
};

const readAll: RequestListener = (request, response) =>
  void request.resume().once('end', () => response.end('ok'));

const UNREAD: readonly [what: string, bytes: string, line: string, code: string][] = [
  ['no HTTP at all', 'hello\r\n\r\n', 'HTTP/1.1 400 Bad Request', 'malformed_request'],
  [
    'a length that is none',
    'POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 1e3\r\n\r\n{}',
    'HTTP/1.1 400 Bad Request',
    'malformed_request',
  ],
  [
    'a chunk without a size',
    'POST /v1/runs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}',
    'HTTP/1.1 400 Bad Request',
    'malformed_request',
  ],
  [
    'an address that is too long',
    `GET /v1/runs?user_id=${'a'.repeat(maxHeaderSize)} HTTP/1.1\r\nHost: x\r\n\r\n`,
    'HTTP/1.1 431 Request Header Fields Too Large',
    'headers_too_large',
  ],
  [
    'a chunk that is mostly extension',
    `POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;${'a'.repeat(20_000)}\r\n{}\r\n`,
    'HTTP/1.1 413 Payload Too Large',
    'payload_too_large',
  ],
  [
    'a body that does not come',
    'POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{',
    'HTTP/1.1 408 Request Timeout',
    'request_timeout',
  ],
];

for (const [what, bytes, line, code] of UNREAD) {
  test(`a request that no route reads is answered by a problem: ${what}`, async (t) => {
    const { talk } = await serve(t, readAll);
    const answered = problemIn(await talk(bytes));
    assert.deepEqual([answered.line, answered.code], [line, code]);
    assert.equal(answered.status, Number(line.split(' ')[1]));
  });
}

test('nothing is written into an answer that has begun', async (t) => {
  const { port } = await serve(t, (_, response) => void response.writeHead(200).write('begun'));
  const socket = connect(port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('utf8').on('data', (some: string) => (answer += some));
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await until('the answer', () => answer.includes('begun'));
  socket.write('hello\r\n\r\n');
  await once(socket, 'close');
  assert.match(answer, /^HTTP\/1\.1 200 /);
  assert.ok(!answer.includes('problem'));
});

test('a host that makes no address is answered by a problem', async (t) => {
  const answer = getRequestListener(() => new Response('ok'), { errorHandler: answerUnread });
  const { talk } = await serve(t, (request, response) => void answer(request, response));
  const answered = problemIn(await talk('GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n'));
  assert.deepEqual([answered.line, answered.code], ['HTTP/1.1 400 Bad Request', 'malformed_request']);
});
