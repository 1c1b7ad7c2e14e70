/** What a worker process says of itself is true: alive, ready, and how it ends (contract §3). */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { startRedis, startService, temporaryDir, until } from '@signalbox/local';
import { connect, disconnect, openActivationQueue } from '@signalbox/run-state';
import { KEYS, openWorld, script } from './harness.ts';

const deployment = async (env: Record<string, string> = {}) => {
  const server = await startRedis({ dir: await temporaryDir() });
  const world = await openWorld({ url: server.url, namespace: 'sb' });
  const redis = connect(server.url, 'queue', { onError: () => undefined });
  const queue = openActivationQueue(world.partition, redis);
  after(async () => {
    await queue.close();
    await disconnect(redis);
  });
  const worker = await startService({
    name: 'worker',
    entry: 'services/worker/src/main.ts',
    env: {
      PATH: process.env['PATH'],
      REDIS_URL: server.url,
      ENCRYPTION_KEYS: KEYS.map(({ id, key }) => `${id}:${key.toString('base64')}`).join(','),
      METRICS_PORT: '0',
      WORKER_CONCURRENCY: '4',
      ...env,
    },
    logDir: await temporaryDir(),
  });
  const probe = async (path: '/healthz' | '/readyz') => {
    const response = await fetch(`${worker.url}${path}`);
    return { status: response.status, body: await response.text() };
  };
  const answers = (path: '/healthz' | '/readyz', status: number, what: RegExp) =>
    until(`${path} to answer ${status} ${String(what)}`, async () => {
      const { status: got, body } = await probe(path);
      return got === status && what.test(body);
    });
  return { server, world, worker, probe, answers, enqueue: () => queue.add(world.pending.splice(0)) };
};

describe('the worker process', { concurrency: 2 }, () => {
  test('that cannot fetch what waits says so and ends with 1, having handed over what it works on', async () => {
    const { world, worker, answers, enqueue } = await deployment({ STALL_SECONDS: '2' });
    const working = await world.submit({
      input: script(
        { tool_calls: [{ name: 'calculator', arguments: { expression: '1' } }], delay_ms: 12_000 },
        { text: 'done' },
      ),
      spec: { tools: ['calculator'] },
    });
    await enqueue();
    await until('the run to be worked on', async () => (await world.field(working, 'status')) === 'running');
    // BullMQ's script fails at it, and the worker's fetch with it.
    await world.partition.redis.rename(
      `${world.partition.root}:activations:active`,
      `${world.partition.root}:activations:elsewhere`,
    );
    await world.partition.redis.set(`${world.partition.root}:activations:active`, 'no list');
    await world.submit({ input: 'x', spec: { model: 'mock/echo' } });
    await enqueue();
    await answers('/healthz', 503, /"fetching".*work waits and slots are free, but nothing was fetched for/);
    await answers('/readyz', 503, /draining/);
    const { code } = await worker.exited;
    assert.equal(code, 1);
    assert.match(await readFile(worker.logFile, 'utf8'), /"fatal".*not alive/);
    const run = await world.read(working);
    assert.deepEqual(run.types.slice(-2), ['llm.completed', 'run.handed_over'], 'its run is not cut off');
  });

  test('that has nothing to do is alive, and without its Redis alive but not ready', async () => {
    const { server, worker, probe, answers } = await deployment({ STALL_SECONDS: '2', LEASE_SECONDS: '2' });
    await answers('/readyz', 200, /"ok"/);
    await server.stop();
    await answers('/readyz', 503, /no lease/);
    // Longer than what counts as stuck, with both looks.
    const until = performance.now() + 20_000;
    while (performance.now() < until) {
      assert.equal((await probe('/healthz')).status, 200);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    assert.equal(worker.exit(), undefined);
    await server.start();
    await answers('/readyz', 200, /"ok"/);
    assert.deepEqual(await worker.stop(), { code: 0, signal: null });
  });

  test('whose queue is away can fetch nothing, so it is alive but not ready', async () => {
    const queueServer = await startRedis({ dir: await temporaryDir() });
    const { worker, probe, answers } = await deployment({ QUEUE_REDIS_URL: queueServer.url });
    await answers('/readyz', 200, /"ok"/);
    await queueServer.stop();
    await answers('/readyz', 503, /"queue":{"ok":false/);
    assert.equal((await probe('/healthz')).status, 200);
    await queueServer.start();
    await answers('/readyz', 200, /"ok"/);
    assert.deepEqual(await worker.stop({ graceMs: 60_000 }), { code: 0, signal: null });
    await queueServer.stop();
  });

  test('whose Redis is away when it is told to stop ends soon, with 0', async () => {
    const { server, worker, answers } = await deployment();
    await answers('/readyz', 200, /"ok"/);
    await server.stop();
    await answers('/readyz', 503, /redis/);
    assert.deepEqual(await worker.stop({ graceMs: 60_000 }), { code: 0, signal: null });
  });

  test('that drains is not ready, and cuts off what does not end in time', async () => {
    const { world, worker, answers, enqueue } = await deployment({ DRAIN_SECONDS: '2' });
    const endless = await world.submit({ input: script({ text: 'x', delay_ms: 600_000 }) });
    await enqueue();
    await until('the call to be open', async () =>
      (await world.read(endless)).types.includes('llm.requested'),
    );
    const stopped = worker.stop({ graceMs: 60_000 });
    await answers('/readyz', 503, /draining/);
    assert.deepEqual(await stopped, { code: 0, signal: null });
    const run = await world.read(endless);
    assert.deepEqual(run.types.slice(-2), ['llm.failed', 'run.handed_over']);
    assert.equal(run.all('llm.failed')[0]?.code, 'worker_stopped');
    assert.equal(await world.field(endless, 'claims'), '0');
  });
});
