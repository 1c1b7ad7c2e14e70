/**
 * What becomes of tool calls that were open when their worker died, by what they may do to the world
 * (Resume).
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, describe, test } from 'node:test';
import { until } from '@signalbox/local';
import type { AgentSpec } from '@signalbox/contracts';
import { openWorld, type RunSeen, script } from './harness.ts';

/** Short enough that what a dead worker still tries is over soon. */
const MORTAL = { leaseMs: 3000 };

interface Request {
  readonly method: string;
  readonly path: string;
  readonly key: string;
}

/** The world outside: `/slow` answers only from the second time on. */
const outside = async () => {
  const requests: Request[] = [];
  const server = createServer((request, response) => {
    const { method = '', url: path = '', headers } = request;
    const before = requests.filter((one) => one.path === path).length;
    requests.push({ method, path, key: String(headers['idempotency-key']) });
    if (path.startsWith('/slow') && before === 0) return;
    response.end(`${method} ${path}`);
  }).listen(0, '127.0.0.1');
  after(() => {
    server.closeAllConnections();
    server.close();
  });
  await once(server, 'listening');
  return { requests, host: `127.0.0.1:${(server.address() as AddressInfo).port}` };
};

interface Call {
  readonly id: string;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE';
  readonly path: string;
}

/** A worker dies when the slow calls are open and the others done; another one goes on. */
const lostDuring = async (
  calls: readonly Call[],
  tool: AgentSpec['tools'][number] = 'http_request',
): Promise<{ run: RunSeen; runId: string; requests: readonly Request[] }> => {
  const { requests, host } = await outside();
  const world = await openWorld();
  const toolCalls = calls.map(({ id, method, path }) => ({
    id,
    name: 'http_request',
    arguments: { method, url: `http://${host}${path}` },
  }));
  const runId = await world.submit({
    input: script(
      { tool_calls: [...toolCalls, { id: 'sum', name: 'calculator', arguments: { expression: '1+1' } }] },
      { text: 'done' },
    ),
    spec: { tools: [tool, 'calculator'] },
  });
  const first = await world.worker({ ...MORTAL, httpAllow: [host] });
  const lost = world.settle(first);
  const quick = calls.filter(({ path }) => !path.startsWith('/slow')).length + 1;
  await until('all are called, and the quick ones done', async () => {
    const done = (await world.read(runId)).all('tool.completed').length;
    return requests.length === calls.length && done === quick;
  });
  first.die();
  await world.expire(first.leaseId);
  await world.settle(await world.worker({ httpAllow: [host] }));
  await lost;
  const run = await world.read(runId);
  assert.equal(run.broken, null);
  assert.equal(
    run.all('llm.requested').filter(({ step }) => step === 1).length,
    1,
    'the model was not asked again',
  );
  return { run, runId, requests };
};

describe('a worker dies while tools run side by side', { concurrency: true }, () => {
  for (const method of ['GET', 'HEAD'] as const) {
    test(`an open ${method} is made again under its key; what was done is not (R6)`, async () => {
      const { run, runId, requests } = await lostDuring([
        { id: 'open', method, path: '/slow' },
        { id: 'done', method: 'POST', path: '/quick' },
      ]);
      assert.equal(run.state.status, 'succeeded');
      assert.deepEqual(
        requests.filter(({ path }) => path === '/slow').map(({ key }) => key),
        [`${runId}:2:open`, `${runId}:2:open`],
      );
      assert.equal(requests.filter(({ path }) => path === '/quick').length, 1);
      assert.deepEqual(
        run.all('tool.requested').map(({ call_id, attempt }) => `${call_id} ${attempt}`),
        ['open 1', 'done 1', 'sum 1', 'open 2'],
      );
    });
  }

  test('an open POST is not: the run fails, says which call, and what to do', async () => {
    const { run, requests } = await lostDuring([
      { id: 'done', method: 'GET', path: '/quick' },
      { id: 'open', method: 'POST', path: '/slow' },
    ]);
    assert.deepEqual([run.state.error?.code, run.state.error?.step], ['uncertain_effect', 3]);
    assert.match(
      run.state.error?.message ?? '',
      /http_request ran at step 3.*Check its effect, then fork the run/,
    );
    assert.equal(requests.length, 2, 'nothing was called again');
  });

  test('beside an open POST, an open GET is not made again either: the run is over', async () => {
    const { run, requests } = await lostDuring([
      { id: 'get', method: 'GET', path: '/slow-1' },
      { id: 'post', method: 'DELETE', path: '/slow-2' },
    ]);
    assert.equal(run.state.error?.code, 'uncertain_effect');
    assert.equal(requests.length, 2);
  });

  test('an open POST that the agent declares repeatable is made again under its key', async () => {
    const { run, runId, requests } = await lostDuring([{ id: 'open', method: 'POST', path: '/slow' }], {
      name: 'http_request',
      repeatable: true,
    });
    assert.equal(run.state.status, 'succeeded');
    assert.deepEqual(
      requests.map(({ key }) => key),
      [`${runId}:2:open`, `${runId}:2:open`],
    );
  });
});
