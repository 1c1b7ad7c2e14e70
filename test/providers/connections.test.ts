import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, get } from 'node:http';
import type { Socket } from 'node:net';
import { it } from 'node:test';
import { ask, MINI, modelsAt, requestTo } from './calls.ts';

const CHUNK = { choices: [{ index: 0, delta: { content: 'a' }, finish_reason: 'stop' }] };
const ANSWER = `data: ${JSON.stringify(CHUNK)}\n\ndata: [DONE]\n\n`;
const CALLS = 20;

it('a connection is used again where its end comes a moment after that of the answer', async () => {
  const asked = new Set<Socket>();
  let end = (): Promise<void> => Promise.resolve();
  const server = createServer((request, response) => {
    if (request.method === 'GET') return response.end();
    asked.add(request.socket);
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' }).write(ANSWER);
    end = () => new Promise((resolve) => response.end(resolve));
    return response;
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const url = `http://127.0.0.1:${address.port}`;
  const models = modelsAt({ anthropicBaseUrl: url, openaiBaseUrl: url });
  try {
    for (let call = 0; call < CALLS; call += 1) {
      await ask(models, requestTo(MINI));
      await end();
      // What was sent before this request has arrived before its answer.
      await once(get(url, { agent: false }), 'response');
    }
  } finally {
    server.close();
    server.closeAllConnections();
  }
  // The end may still come late, on a busy machine.
  assert.ok(asked.size <= CALLS / 2, `${asked.size} connections`);
});
