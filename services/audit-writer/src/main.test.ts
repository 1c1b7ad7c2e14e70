import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRedis, temporaryDir, waitFor, until } from '@signalbox/local';
import { openPartition, type Partition, setTenantCaps } from '@signalbox/run-state';
import { openRedis, trust } from '../../../packages/run-state/test/support.ts';
import { type ServiceProcess, startMain } from '../../../test/support/service-main.ts';
import { openProxy } from '../test/proxy.ts';
import {
  drained,
  endedRun,
  EVENTS_PER_RUN,
  freshDatabase,
  openPool,
  stored,
  streamLength,
} from '../test/support.ts';

const ownRedis = async () => {
  const server = await startRedis({ dir: await temporaryDir() });
  const partition: Partition = openPartition(await openRedis('state', server.url));
  const noCaps = { runNano: null, userDailyNano: null, tenantDailyNano: null, timeZone: 'UTC' };
  await setTenantCaps(partition, 'acme', noCaps);
  await trust(partition);
  return { server, partition };
};

const ready = (service: ServiceProcess, status: number): Promise<true> =>
  until(`/readyz to answer ${status}`, async () => (await service.get('/readyz')).status === status);

test('a taken port ends it with one line that says what to do', async () => {
  const { server } = await ownRedis();
  const service = await startMain('audit-writer', {
    REDIS_URL: server.url,
    DATABASE_URL: await freshDatabase(),
    METRICS_PORT: String(server.port),
  });
  assert.equal((await service.exited).code, 1);
  const fatal = service.lines().filter(({ level }) => level === 'fatal');
  assert.equal(fatal.length, 1);
  assert.match(String(fatal[0]?.['msg']), /\(EADDRINUSE\): .* set METRICS_PORT to another$/);
  assert.ok(!service.output().includes('    at '), 'a stack is shown');
  await server.stop();
});

test('it stores, shows its metrics, outlives Postgres and Redis being away, and ends with 0 on SIGTERM', async () => {
  const { server, partition } = await ownRedis();
  const databaseUrl = await freshDatabase();
  const proxy = await openProxy(databaseUrl);
  const service = await startMain('audit-writer', {
    REDIS_URL: server.url,
    DATABASE_URL: proxy.url,
    RUN_TTL_SECONDS: '60',
  });
  await ready(service, 200);
  const runId = await endedRun(partition);
  await drained(partition);
  const ttl = await partition.redis.ttl(`${partition.root}:run:${runId}`);
  assert.ok(ttl > 0 && ttl <= 60);
  const metrics = (await service.get('/metrics')).body;
  for (const sample of [
    'signalbox_audit_backlog_events 0',
    'signalbox_audit_lag_seconds 0',
    `signalbox_audit_written_total ${EVENTS_PER_RUN}`,
    'signalbox_audit_quarantined_total 0',
    `signalbox_audit_batch_rows_sum ${EVENTS_PER_RUN}`,
    'signalbox_event_loop_lag_seconds ',
  ]) {
    assert.ok(metrics.includes(sample), `${sample} is not in /metrics`);
  }

  await proxy.cut();
  await endedRun(partition);
  await ready(service, 503);
  assert.equal((await service.get('/healthz')).status, 200);
  assert.equal(await streamLength(partition), EVENTS_PER_RUN);
  await proxy.mend();
  await drained(partition);
  await ready(service, 200);

  await server.stop();
  await ready(service, 503);
  await server.start();
  await trust(partition);
  await ready(service, 200);
  await endedRun(partition);
  await drained(partition);

  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  assert.equal((await stored(openPool(databaseUrl))).events, 3 * EVENTS_PER_RUN);
  assert.ok(service.lines().every(({ service: name }) => name === 'audit-writer'));
  await server.stop();
});

test('SIGTERM with Postgres away gives the batch in hand up within seconds, with exit code 0', async () => {
  const { server, partition } = await ownRedis();
  const databaseUrl = await freshDatabase();
  const proxy = await openProxy(databaseUrl);
  await proxy.cut();
  const env = { REDIS_URL: server.url, DATABASE_URL: proxy.url };
  const service = await startMain('audit-writer', env);
  await endedRun(partition);
  await ready(service, 503);
  await waitFor(() => service.lines().find(({ msg }) => msg === 'a batch could not be stored'), {
    what: 'a batch in hand',
    timeoutMs: 60_000,
  });
  assert.deepEqual(await service.stop({ graceMs: 60_000 }), { code: 0, signal: null });
  assert.equal(await streamLength(partition), EVENTS_PER_RUN);
  await server.stop();
});

test('SIGTERM with Redis away ends it with 0', async () => {
  const { server } = await ownRedis();
  const service = await startMain('audit-writer', {
    REDIS_URL: server.url,
    DATABASE_URL: await freshDatabase(),
  });
  await ready(service, 200);
  await server.stop();
  await ready(service, 503);
  assert.deepEqual(await service.stop({ graceMs: 60_000 }), { code: 0, signal: null });
});
