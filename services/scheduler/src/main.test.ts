import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { startRedis, temporaryDir, waitFor, until } from '@signalbox/local';
import { openPartition, type Partition, readDemand, readTrust } from '@signalbox/run-state';
import { openRedis, submit } from '../../../packages/run-state/test/support.ts';
import { type ServiceProcess, startMain } from '../../../test/support/service-main.ts';
import { freshDatabase } from '../test/support.ts';

const ENCRYPTION_KEYS = `k1:${randomBytes(32).toString('base64')}`;

const ownRedis = async () => {
  const server = await startRedis({ dir: await temporaryDir() });
  const partition = openPartition(await openRedis('state', server.url));
  const env = {
    REDIS_URL: server.url,
    DATABASE_URL: await freshDatabase(),
    ENCRYPTION_KEYS,
    LEASE_SECONDS: '6',
  };
  return { server, partition, env };
};

const ready = (service: ServiceProcess, status: number): Promise<true> =>
  until(`/readyz to answer ${status}`, async () => (await service.get('/readyz')).status === status);

const trusted = (partition: Partition): Promise<true> =>
  until('run state to be verified', async () => (await readTrust(partition)) !== null);

/** Waits until exactly one of them says that it leads. */
const leaderOf = (services: readonly ServiceProcess[]): Promise<ServiceProcess> =>
  waitFor(
    async () => {
      const pages = await Promise.all(services.map((service) => service.get('/metrics')));
      const leaders = services.filter((_, i) => pages[i]?.body.includes('\nsignalbox_scheduler_leader 1\n'));
      return leaders.length === 1 ? leaders[0] : undefined;
    },
    { what: 'one leader', timeoutMs: 60_000 },
  );

test('a bad environment stops it at once with one message that lists every problem', async () => {
  const service = await startMain('scheduler', {
    QUEUE_REDIS_URL: 'nowhere',
    ENCRYPTION_KEYS: 'k1:short',
    LEASE_SECONDS: '0',
    AUDIT_RETENTION_DAYS: '182',
  });
  const { code } = await service.exited;
  assert.equal(code, 78);
  const output = service.output();
  const problems = ['REDIS_URL is missing', 'DATABASE_URL is missing'].concat(
    ['QUEUE_REDIS_URL', 'ENCRYPTION_KEYS', 'LEASE_SECONDS', 'AUDIT_RETENTION_DAYS'].map(
      (name) => `${name} is malformed`,
    ),
  );
  for (const problem of problems) assert.ok(output.includes(problem), `${problem} is not in: ${output}`);
  assert.equal(output.split('bad configuration').length, 2);
  assert.ok(!output.includes('k1:short'), 'a secret is repeated');
});

test('it repairs, shows its metrics, outlives Redis being away, and ends with 0 on SIGTERM', async () => {
  const { server, partition, env } = await ownRedis();
  const service = await startMain('scheduler', env);
  await ready(service, 200);
  await trusted(partition);
  await submit(partition, { dueMs: 1 });
  await until('the timer to fire', async () => (await readDemand(partition, Date.now())).waiting === 1);
  const metrics = (await service.get('/metrics')).body;
  for (const sample of [
    'signalbox_queue_depth{state="waiting"} 1',
    'signalbox_queue_depth{state="prioritized"} 0',
    'signalbox_queue_depth{state="active"} 0',
    'signalbox_queue_depth{state="parked"} 0',
    'signalbox_queue_depth{state="delayed"} 0',
    'signalbox_queue_oldest_waiting_seconds ',
    'signalbox_fleet_slots 0',
    'signalbox_fleet_runs_active 0',
    'signalbox_pressure_level 0',
    'signalbox_resumes_total{reason="lease_expired"} 0',
    'signalbox_timers_fired_total 1',
    'signalbox_activations_requeued_total 0',
    'signalbox_event_loop_lag_seconds ',
  ]) {
    assert.ok(metrics.includes(sample), `${sample} is not in /metrics`);
  }

  await server.stop();
  await ready(service, 503);
  assert.equal((await service.get('/healthz')).status, 200);
  await server.start();
  await ready(service, 200);
  await trusted(partition);
  await submit(partition, { dueMs: 1 });
  await until(
    'the second timer to fire',
    async () => (await readDemand(partition, Date.now())).waiting === 2,
  );

  assert.deepEqual(await service.stop({ graceMs: 60_000 }), { code: 0, signal: null });
  assert.equal(
    await partition.redis.exists(`${partition.root}:leader:scheduler`),
    0,
    'the lead was not given back',
  );
  assert.ok(service.lines().every(({ service: name }) => name === 'scheduler'));
  await server.stop();
});

test('while Redis answers and refuses every write, as a replica does, it is not ready and does not lead', async () => {
  const { server, partition, env } = await ownRedis();
  const service = await startMain('scheduler', env);
  await ready(service, 200);
  await leaderOf([service]);
  await partition.redis.config('SET', 'min-replicas-to-write', 1);
  await ready(service, 503);
  assert.match(
    (await service.get('/readyz')).body,
    /"redis":\{"ok":true\}.*"loop":\{"ok":false,.*NOREPLICAS/,
  );
  await until('its lead to be over', async () =>
    (await service.get('/metrics')).body.includes('\nsignalbox_scheduler_leader 0\n'),
  );
  await partition.redis.config('SET', 'min-replicas-to-write', 0);
  await ready(service, 200);
  await leaderOf([service]);
  await service.stop({ graceMs: 60_000 });
  await server.stop();
});

test('of two processes one leads; the other takes over from a killed one and from one that stops', async () => {
  const { server, env } = await ownRedis();
  const two = [await startMain('scheduler', env), await startMain('scheduler', env)];
  await Promise.all(two.map((service) => ready(service, 200)));
  const killed = await leaderOf(two);
  await killed.kill();
  const left = two.filter((service) => service !== killed);
  const stopped = await leaderOf(left);
  const next = await startMain('scheduler', env);
  await ready(next, 200);
  assert.deepEqual(await stopped.stop({ graceMs: 60_000 }), { code: 0, signal: null });
  assert.equal(await leaderOf([next]), next);
  await next.stop();
  await server.stop();
});

test('SIGTERM with Redis away ends it with 0', async () => {
  const { server, env } = await ownRedis();
  const service = await startMain('scheduler', env);
  await ready(service, 200);
  await server.stop();
  await ready(service, 503);
  assert.deepEqual(await service.stop({ graceMs: 60_000 }), { code: 0, signal: null });
});
