/** The worker as its own process: configuration, BullMQ, aborts by hint, and the drain on SIGTERM. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Service, startRedis, startService, temporaryDir, until } from '@signalbox/local';
import { connect, disconnect, openActivationQueue, requestAbort } from '@signalbox/run-state';
import { KEYS, openWorld, script, TENANT, type World } from './harness.ts';

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

/** A worker without the key of the runs. */
const startStranger = (url: string, logDir: string): Promise<Service> => {
  const ENCRYPTION_KEYS = `other:${randomBytes(32).toString('base64')}`;
  const other = { ENCRYPTION_KEYS, WORKER_CONCURRENCY: '8' };
  return startService({ name: 'stranger', entry: ENTRY, env: { ...environment(url), ...other }, logDir });
};

const SKEWED = fileURLToPath(new URL('../../../test/chaos/skewed-clock.ts', import.meta.url));
const HOUR = 3_600_000;

describe('the worker process', () => {
  test('has the time of Redis where its machine has another: in journals, and for what is due', async () => {
    const { url, world, enqueue } = await deployment();
    const skewed = { NODE_OPTIONS: `--import=${SKEWED}`, CHAOS_CLOCK_SKEW_MS: String(-30 * HOUR) };
    const env = { ...environment(url), ...skewed };
    const worker = await startService({ name: 'skewed', entry: ENTRY, env, logDir: await temporaryDir() });
    const submittedAt = Date.now();
    const runId = await world.submit({
      input: script({ tool_calls: [{ name: 'wait', arguments: { seconds: 60 } }] }, { text: 'waited' }),
      spec: { tools: ['wait'] },
    });
    await enqueue();
    await hasStatus(world, runId, 'waiting');
    const run = await world.read(runId);
    const due = Date.parse(run.all('tool.requested')[0]?.due_at ?? '');
    for (const at of [due, ...run.events.map(({ ts }) => Date.parse(ts))])
      assert.ok(Math.abs(at - submittedAt) < HOUR / 4, new Date(at).toISOString());
    const warning = (await readFile(worker.logFile, 'utf8'))
      .split('\n')
      .find((line) => line.includes('not that of Redis'));
    assert.ok(warning?.includes('"ahead_seconds":-108000'), warning);
    await worker.stop();
  });

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
    const stranger = await startStranger(url, logDir);
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
    let delayed = 0;
    for (let n = 0; n < 20; n += 1) {
      const runId = await world.submit({ input: script({ text: 'x' }) });
      await enqueue();
      await hasStatus(world, runId, 'succeeded');
      delayed += (await world.read(runId)).all('run.handed_over').length;
    }
    assert.ok(delayed <= 5, `of 20 runs ${delayed} went to it first`);
    for (const service of [stranger, worker])
      assert.deepEqual(await service.stop(), { code: 0, signal: null });
  });

  /** What it held when it became clear that it cannot open them goes; then there is one, and another. */
  const takesOneByOne = async ({ partition, ...world }: World, runs: readonly string[]): Promise<void> => {
    const { redis, root } = partition;
    const [leaseId = ''] = await redis.zrange(`${root}:leases`, '0', '-1');
    const held = () => redis.scard(`${root}:lease:${leaseId}`);
    const handedOver = async () => {
      const read = await Promise.all(runs.map((runId) => world.read(runId)));
      return read.flatMap((run) => run.all('run.handed_over')).length;
    };
    await until('it lets go of what it held', async () => (await held()) <= 1);
    const before = await handedOver();
    await until('it took another, and no more', async () => {
      assert.ok((await held()) <= 1);
      return (await handedOver()) > before;
    });
  };
  const isUnfit = ({ url }: { readonly url: string }) =>
    until('it is not ready', async () => !(await fetch(`${url}/readyz`)).ok);
  const submitMany = (world: World, length: number, ...turns: readonly Record<string, unknown>[]) =>
    Promise.all(Array.from({ length }, () => world.submit({ input: script(...turns) })));

  test('without the key of the runs it takes one at a time, however many it held when that became clear', async () => {
    const { url, world, enqueue } = await deployment();
    const stranger = await startStranger(url, await temporaryDir());
    const runs = await submitMany(world, 8, { text: 'x' });
    await enqueue();
    await isUnfit(stranger);
    await takesOneByOne(world, runs);
    assert.deepEqual(await stranger.stop(), { code: 0, signal: null });
  });

  test('nor more in the place of those that it could open', async () => {
    const { url, world, enqueue } = await deployment();
    const env = { ...environment(url), WORKER_CONCURRENCY: '8' };
    const worker = await startService({ name: 'worker', entry: ENTRY, env, logDir: await temporaryDir() });
    const good = await submitMany(world, 3, { text: 'x', delay_ms: 4000 });
    await enqueue();
    await Promise.all(good.map((runId) => hasStatus(world, runId, 'running')));
    const bad = await submitMany(world, 8, { text: 'x' });
    for (const runId of bad) await world.partition.redis.hdel(`${world.partition.root}:run:${runId}`, 'key');
    await enqueue();
    await isUnfit(worker);
    await Promise.all(good.map((runId) => hasStatus(world, runId, 'succeeded')));
    await takesOneByOne(world, bad);
    assert.deepEqual(await worker.stop(), { code: 0, signal: null });
  });
});
