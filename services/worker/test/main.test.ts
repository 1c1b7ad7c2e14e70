/** The worker as its own process: configuration, BullMQ, aborts by hint, and the drain on SIGTERM. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { startRedis, startService, temporaryDir } from '@signalbox/local';
import { connect, disconnect, openActivationQueue, requestAbort } from '@signalbox/run-state';
import { KEYS, openWorld, script, TENANT, until, type World } from './harness.ts';

const ENTRY = 'services/worker/src/main.ts';
const PATH = process.env['PATH'];

const environment = (redisUrl: string): NodeJS.ProcessEnv => ({
  PATH,
  REDIS_URL: redisUrl,
  ENCRYPTION_KEYS: KEYS.map(({ id, key }) => `${id}:${key.toString('base64')}`).join(','),
  METRICS_PORT: '0',
  WORKER_CONCURRENCY: '4',
});

/** The namespace of a deployment, so on a Redis of its own, with a queue. */
const deployment = async () => {
  const { url } = await startRedis({ dir: await temporaryDir() });
  const world = await openWorld({ url, namespace: 'sb' });
  const redis = connect(url, 'queue', { onError: () => undefined });
  const queue = openActivationQueue(world.partition, redis);
  after(async () => {
    await queue.close();
    await disconnect(redis);
  });
  const enqueue = () => queue.add(world.pending.splice(0));
  return { url, world, enqueue };
};

const hasStatus = (world: World, runId: string, status: string) =>
  until(`the run is ${status}`, async () => (await world.field(runId, 'status')) === status);

describe('the worker process', () => {
  test('works on runs from the queue, stops one that is aborted, drains on SIGTERM and exits 0', async () => {
    const { url, world, enqueue } = await deployment();
    const logDir = await temporaryDir();
    const start = (name: string) => startService({ name, entry: ENTRY, env: environment(url), logDir });
    const first = await start('worker-1');

    const runs = await Promise.all(
      Array.from({ length: 12 }, (_, n) =>
        world.submit({
          input: script(
            { tool_calls: [{ name: 'calculator', arguments: { expression: `${n} * 2` } }] },
            { text: '{{tool_results}}' },
          ),
          spec: { tools: ['calculator'] },
        }),
      ),
    );
    await enqueue();
    for (const [n, runId] of runs.entries()) {
      await hasStatus(world, runId, 'succeeded');
      const run = await world.read(runId);
      assert.equal(run.output, String(n * 2));
      assert.equal(run.all('run.claimed').length, 1);
    }
    const metrics = await (await fetch(`${first.url}/metrics`)).text();
    assert.match(metrics, /signalbox_runs_finished_total\{[^}]*status="succeeded"[^}]*\} 12/);
    assert.match(metrics, /signalbox_worker_slots 4/);

    const endless = await world.submit({ input: script({ text: 'x', delay_ms: 600_000 }) });
    await enqueue();
    await hasStatus(world, endless, 'running');
    await requestAbort(world.partition, {
      runId: endless,
      tenantId: TENANT,
      flag: { requested_at: new Date().toISOString(), by: 'key_1', reason: null },
    });
    await hasStatus(world, endless, 'aborted');

    const slow = await world.submit({
      input: script(
        { text: 'one', delay_ms: 1500, tool_calls: [{ name: 'calculator', arguments: { expression: '1' } }] },
        { text: 'two' },
      ),
      spec: { tools: ['calculator'] },
    });
    await enqueue();
    await until('its call is announced', async () =>
      (await world.read(slow)).types.includes('llm.requested'),
    );
    const exit = await first.stop();
    assert.deepEqual(exit, { code: 0, signal: null });
    const handed = await world.read(slow);
    assert.deepEqual(handed.types.slice(-2), ['llm.completed', 'run.handed_over']);
    assert.equal(
      await world.partition.redis.zcard(`${world.partition.root}:leases`),
      0,
      'its lease is given back',
    );

    const second = await start('worker-2');
    await hasStatus(world, slow, 'succeeded');
    assert.equal((await world.read(slow)).output, 'two');
    assert.equal((await world.read(slow)).broken, null);
    assert.deepEqual(await second.stop(), { code: 0, signal: null });
  });

  test('without the key of the runs: it says so, is not ready, and another does them', async () => {
    const { url, world, enqueue } = await deployment();
    const logDir = await temporaryDir();
    const other = { ENCRYPTION_KEYS: `other:${randomBytes(32).toString('base64')}` };
    const stranger = await startService({
      name: 'stranger',
      entry: ENTRY,
      env: { ...environment(url), ...other },
      logDir,
    });
    const runs = await Promise.all(
      Array.from({ length: 5 }, () => world.submit({ input: script({ text: 'x' }) })),
    );
    await enqueue();
    await until('it is not ready', async () => !(await fetch(`${stranger.url}/readyz`)).ok);
    const { checks } = (await (await fetch(`${stranger.url}/readyz`)).json()) as {
      checks: { opens: string };
    };
    assert.match(JSON.stringify(checks.opens), /cannot open the runs it claims/);
    await until('its log says so', async () =>
      /cannot open runs that it claims/.test(await readFile(stranger.logFile, 'utf8')),
    );
    const worker = await startService({ name: 'worker', entry: ENTRY, env: environment(url), logDir });
    await Promise.all(runs.map((runId) => hasStatus(world, runId, 'succeeded')));
    for (const service of [stranger, worker])
      assert.deepEqual(await service.stop(), { code: 0, signal: null });
  });
});
