/** A Redis that may lose run state without a word is refused at the start, by every service that uses it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type LocalRedis, REPOSITORY, startChild, startRedis, temporaryDir, until } from '@signalbox/local';
import { connect, disconnect } from '@signalbox/run-state';

const PASSWORD = 'hunter2hunter2';
const servers: LocalRedis[] = [];
after(async () => {
  for (const server of servers) await server.kill();
});

const evicting = async (): Promise<string> => {
  const server = await startRedis({ dir: await temporaryDir() });
  servers.push(server);
  const redis = connect(server.url, 'state', { onError: () => undefined });
  await redis.config('SET', 'maxmemory-policy', 'allkeys-lru');
  await redis.config('SET', 'requirepass', PASSWORD);
  await disconnect(redis);
  return `redis://:${PASSWORD}@127.0.0.1:${server.port}`;
};

const sound = async (): Promise<string> => {
  const server = await startRedis({ dir: await temporaryDir() });
  servers.push(server);
  return server.url;
};

const start = async (service: string, env: Record<string, string>) =>
  startChild({
    name: service,
    command: [process.execPath, join(REPOSITORY, `services/${service}/src/main.ts`)],
    logFile: join(await temporaryDir(), `${service}.log`),
    cwd: REPOSITORY,
    env: {
      PATH: process.env['PATH'],
      // Nobody is there: a service that went on would wait for it.
      DATABASE_URL: 'postgres://nobody@127.0.0.1:9/none',
      ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
      METRICS_PORT: '0',
      PORT: '0',
      ...env,
    },
  });

for (const service of ['api', 'worker', 'audit-writer', 'scheduler']) {
  test(`${service} refuses a Redis that evicts, in one message without the password, with exit code 78`, async () => {
    const child = await start(service, { REDIS_URL: await evicting() });
    assert.equal((await child.exited).code, 78);
    const refusals = child.output().match(/bad configuration:\n {2}REDIS_URL \(redis:.*noeviction/g);
    assert.equal(refusals?.length, 1, child.output());
    assert.ok(!child.output().includes(PASSWORD));
  });
}

for (const service of ['api', 'worker', 'scheduler']) {
  test(`${service} refuses a queue on such a Redis as well`, async () => {
    const child = await start(service, { REDIS_URL: await sound(), QUEUE_REDIS_URL: await evicting() });
    assert.equal((await child.exited).code, 78);
    assert.match(child.output(), /bad configuration:\n {2}QUEUE_REDIS_URL \(redis:.*noeviction/);
  });
}

test('whoever accepts it is warned, and served', async () => {
  const child = await start('worker', { REDIS_URL: await evicting(), REDIS_CHECK: 'warn' });
  await until('the warning', () => child.output().includes('Redis is not fit'));
  assert.equal(child.exit(), undefined);
  assert.equal((await child.stop()).code, 0);
});
