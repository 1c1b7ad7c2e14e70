import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRedis, temporaryDir } from '@signalbox/local';
import { createLogger, systemClock } from '@signalbox/runtime';
import { checkServers, faultsOf, type RedisCheck } from '../src/index.ts';
import { openRedis } from './support.ts';

const INFO: Record<string, string> = {
  redis_version: '7.0.15',
  maxmemory_policy: 'noeviction',
  aof_enabled: '1',
};
const infoOf = (told: Record<string, string>): string =>
  Object.entries({ ...INFO, ...told })
    .map(([name, value]) => `${name}:${value}`)
    .join('\r\n');

for (const [told, what, grave] of [
  [{ redis_version: '6.2.14' }, /^Redis 6\.2\.14 is too old; use 7\.0 or later$/, true],
  [{ maxmemory_policy: 'allkeys-lru' }, /^maxmemory-policy is allkeys-lru, .* set it to noeviction$/, true],
  [{ connected_slaves: '1' }, /^a master that is cut off .* set min-replicas-to-write/, false],
  [{ aof_enabled: '0' }, /^the append-only file is off, .* set appendonly yes$/, false],
] as const) {
  test(`${JSON.stringify(told)} is ${grave ? 'grave' : 'a warning, unless one is strict'}`, () => {
    const [fault, ...rest] = faultsOf(infoOf(told));
    assert.ok(fault !== undefined && rest.length === 0);
    assert.match(fault.what, what);
    assert.equal(fault.grave, grave);
  });
}

test('a server that is fit has no faults, nor has one that does not tell', () => {
  for (const version of ['7.0.0', '7.4.1', '8.2.0', '10.0.0'])
    assert.deepEqual(faultsOf(infoOf({ redis_version: version })), []);
  assert.deepEqual(faultsOf(infoOf({ connected_slaves: '2', min_slaves_good_slaves: '2' })), []);
  assert.deepEqual(faultsOf('# Server\r\n'), []);
});

const PASSWORD = 'hunter2hunter2';

const check = async (url: string, mode: RedisCheck, stopping = new AbortController().signal) => {
  const log: string[] = [];
  const logger = createLogger({
    service: 'test',
    level: 'info',
    destination: { write: (line) => log.push(line) },
  });
  const servers = [
    { variable: 'REDIS_URL', url, redis: await openRedis('state', url) },
    { variable: 'QUEUE_REDIS_URL', url, redis: await openRedis('queue', url) },
  ];
  const problems = await checkServers(servers, { mode, clock: systemClock, logger, stopping });
  return { problems, log };
};

test('a real server is named once, without its password; what is not refused is warned of', async () => {
  const server = await startRedis({ dir: await temporaryDir() });
  const redis = await openRedis('state', server.url);
  assert.deepEqual(await check(server.url, 'strict'), { problems: [], log: [] });

  await redis.config('SET', 'appendonly', 'no');
  await redis.config('SET', 'maxmemory-policy', 'volatile-ttl');
  await redis.config('SET', 'requirepass', PASSWORD);
  const url = `redis://:${PASSWORD}@127.0.0.1:${server.port}/0`;
  const strict = await check(url, 'strict');
  assert.equal(strict.problems.length, 2);
  assert.match(
    strict.problems[0] ?? '',
    new RegExp(`^REDIS_URL \\(redis://127\\.0\\.0\\.1:${server.port}/0\\): max`),
  );
  const normal = await check(url, 'normal');
  assert.equal(normal.problems.length, 1);
  assert.equal(normal.log.length, 1);
  assert.match(normal.log[0] ?? '', /"warn".*append-only file is off/);
  const warn = await check(url, 'warn');
  assert.deepEqual([warn.problems.length, warn.log.length], [0, 2]);
  assert.ok(!JSON.stringify([strict, normal, warn]).includes(PASSWORD));

  // The default user may not ask: nothing is known, nothing is refused.
  await redis.call('ACL', 'SETUSER', 'default', '-info');
  const untold = await check(url, 'strict');
  assert.deepEqual(untold.problems, []);
  assert.match(untold.log[0] ?? '', /REDIS_URL could not be checked: INFO is refused/);
  await redis.call('ACL', 'SETUSER', 'default', '+info');
  await server.kill();
});

test('a server that does not answer yet is asked until it does, or the process stops', async () => {
  const server = await startRedis({ dir: await temporaryDir() });
  await server.stop();
  const stopping = new AbortController();
  const given = check(server.url, 'strict', stopping.signal);
  stopping.abort();
  assert.deepEqual((await given).problems, []);

  const checked = check(server.url, 'strict');
  let early = false;
  void checked.then(() => {
    early = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(early, false);
  await server.start();
  assert.deepEqual((await checked).problems, []);
  await server.kill();
});
