import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { connect as connectTo, createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { migrate } from '@signalbox/audit-store';
import type { Run } from '@signalbox/contracts';
import {
  createTestDatabase,
  REPOSITORY,
  type Service,
  startChild,
  startRedis,
  startService,
  temporaryDir,
  waitFor,
  until,
} from '@signalbox/local';
import { connect, disconnect, markTrusted, openPartition, readServerId } from '@signalbox/run-state';
import { readConfig } from '../src/config.ts';
import { allFrames } from './sse.ts';

const ENTRY = 'services/api/src/main.ts';
const KEY = 'bootstrap-key-for-tests';
const stops: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const stop of stops.toReversed()) await stop();
});

const closedPort = async (): Promise<number> => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
};

const environment = (redisUrl: string, databaseUrl: string): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  REDIS_URL: redisUrl,
  DATABASE_URL: databaseUrl,
  ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
  BOOTSTRAP_API_KEY: KEY,
  PORT: '0',
  SHUTDOWN_DELAY_SECONDS: '0',
});

const start = async (env: NodeJS.ProcessEnv): Promise<Service & { dir: string }> => {
  const dir = await temporaryDir();
  const service = await startService({ name: 'api', entry: ENTRY, env, logDir: dir });
  stops.push(() => service.kill());
  return { ...service, dir };
};

const stores = async (): Promise<{ redisUrl: string; databaseUrl: string }> => {
  const redis = await startRedis({ dir: await temporaryDir() });
  stops.push(() => redis.stop());
  const databaseUrl = await createTestDatabase(`api_${randomUUID().replaceAll('-', '')}`);
  await migrate(databaseUrl);
  await trust(redis.url);
  return { redisUrl: redis.url, databaseUrl };
};

/** The scheduler's part: an empty server has nothing to verify. */
const trust = async (redisUrl: string): Promise<void> => {
  const redis = connect(redisUrl, 'state', { onError: () => undefined });
  const partition = openPartition(redis);
  await markTrusted(partition, { ...(await readServerId(partition)), incarnation: 0 });
  await disconnect(redis);
};

/** As a load balancer does that speaks HTTP/1.0. */
const probed = async ({ url }: Service): Promise<string> => {
  const socket = connectTo(Number(new URL(url).port), '127.0.0.1');
  socket.write('GET /readyz HTTP/1.0\r\n\r\n');
  return text(socket);
};

const authorization = { authorization: `Bearer ${KEY}` };

test('the process takes runs with its bootstrap key, streams them, and stops in order with code 0', async () => {
  const { redisUrl, databaseUrl } = await stores();
  const api = await start(environment(redisUrl, databaseUrl));
  const submitted = await fetch(`${api.url}/v1/runs`, {
    method: 'POST',
    headers: authorization,
    body: JSON.stringify({ agent: { model: 'mock/echo' }, input: 'the-secret-input' }),
  });
  assert.equal(submitted.status, 202);
  const run = (await submitted.json()) as Run;
  const published = await until('the tenant in Postgres', async () => {
    const response = await fetch(`${api.url}/v1/agents/a`, {
      method: 'PUT',
      headers: authorization,
      body: JSON.stringify({ model: 'mock/echo' }),
    });
    return response.status === 201;
  });
  assert.ok(published);
  const stream = await fetch(`${api.url}/v1/runs/${run.id}/events`, {
    headers: { ...authorization, accept: 'text/event-stream' },
  });
  const cut = new AbortController();
  const other = await fetch(`${api.url}/v1/runs/${run.id}/events`, {
    headers: { ...authorization, accept: 'text/event-stream' },
    signal: cut.signal,
  });
  assert.equal(other.status, 200);
  cut.abort();
  const reading = allFrames(stream);
  const exit = await api.stop();
  assert.deepEqual([exit.code, exit.signal], [0, null]);
  const frames = await reading;
  assert.deepEqual(
    frames.flatMap(({ event }) => event ?? []),
    ['run.submitted'],
  );
  assert.ok(Number(frames.at(-1)?.retry) >= 500);
  const { readFileSync } = await import('node:fs');
  const log = readFileSync(api.logFile, 'utf8');
  for (const line of log.trim().split('\n')) JSON.parse(line);
  assert.ok(!log.includes(KEY) && !log.includes('the-secret-input'));
});

test('told to stop it is not ready at once, serves as before for a while, and asks clients to go elsewhere', async () => {
  const { redisUrl, databaseUrl } = await stores();
  const api = await start({ ...environment(redisUrl, databaseUrl), SHUTDOWN_DELAY_SECONDS: '4' });
  const submit = (): Promise<Response> =>
    fetch(`${api.url}/v1/runs`, {
      method: 'POST',
      headers: authorization,
      body: JSON.stringify({ agent: { model: 'mock/echo' }, input: 'x' }),
    });
  const first = await submit();
  assert.deepEqual([first.status, first.headers.get('connection')], [202, 'keep-alive']);
  const { id } = (await first.json()) as Run;
  const waiting = fetch(`${api.url}/v1/runs/${id}?wait=50`, { headers: authorization });
  const stream = await fetch(`${api.url}/v1/runs/${id}/events`, {
    headers: { ...authorization, accept: 'text/event-stream' },
  });
  assert.equal(stream.headers.get('connection'), 'close');
  const reading = allFrames(stream);
  const exit = api.stop();
  const report = await waitFor(
    async () => {
      const ready = await fetch(`${api.url}/readyz`);
      return ready.status === 503 ? ((await ready.json()) as { checks: object }) : undefined;
    },
    { what: 'the api not to be ready', timeoutMs: 60_000 },
  );
  assert.deepEqual(Object(report.checks).running, { ok: false, detail: 'stopping: SIGTERM' });
  assert.equal((await fetch(`${api.url}/healthz`)).status, 200);
  const late = await submit();
  assert.deepEqual([late.status, late.headers.get('connection')], [202, 'close']);
  const waited = await waiting;
  assert.equal(waited.status, 200);
  assert.equal(((await waited.json()) as Run).status, 'queued');
  assert.ok(Number((await reading).at(-1)?.retry) >= 500);
  assert.deepEqual(await exit, { code: 0, signal: null });
});

test('the api is ready with Redis alone and reports Postgres as degraded', async () => {
  const { redisUrl } = await stores();
  const api = await start(environment(redisUrl, `postgres://nobody@127.0.0.1:${await closedPort()}/none`));
  const ready = await fetch(`${api.url}/readyz`);
  const report = (await ready.json()) as { status: string; checks: Record<string, { ok: boolean }> };
  assert.deepEqual([ready.status, report.status, report.checks['postgres']?.ok], [200, 'degraded', false]);
  assert.match(await probed(api), /^HTTP\/1\.1 200 /, 'also for a probe that names no host');
  const submitted = await fetch(`${api.url}/v1/runs`, {
    method: 'POST',
    headers: authorization,
    body: JSON.stringify({ agent: { model: 'mock/echo' }, input: 'x' }),
  });
  assert.equal(submitted.status, 202);
  assert.equal((await fetch(`${api.url}/v1/runs`, { headers: authorization })).status, 503);
  assert.equal((await api.stop()).code, 0);
});

test('without Redis the api lives, is not ready, and becomes ready when Redis comes', async () => {
  const port = await closedPort();
  const env = environment(`redis://127.0.0.1:${port}`, `postgres://nobody@127.0.0.1:1/none`);
  const dir = await temporaryDir();
  const apiPort = await closedPort();
  const child = await startChild({
    name: 'api',
    command: [process.execPath, `${REPOSITORY}/${ENTRY}`],
    cwd: REPOSITORY,
    env: { ...env, PORT: String(apiPort) },
    logFile: `${dir}/api.log`,
  });
  stops.push(() => child.kill());
  const status = async (path: string): Promise<number | undefined> =>
    fetch(`http://127.0.0.1:${apiPort}${path}`).then(
      (response) => response.status,
      () => undefined,
    );
  const becomes = (path: string, wanted: number): Promise<true> =>
    until(`${path} to answer ${wanted}`, async () => (await status(path)) === wanted);
  await becomes('/healthz', 200);
  await becomes('/readyz', 503);
  const redis = await startRedis({ dir: await temporaryDir(), port });
  stops.push(() => redis.stop());
  await becomes('/readyz', 200);
  assert.equal((await child.stop()).code, 0);
});

test('a host that is not here ends it with one line that says what to do', async () => {
  const child = await startChild({
    name: 'api',
    command: [process.execPath, `${REPOSITORY}/${ENTRY}`],
    cwd: REPOSITORY,
    env: {
      ...environment('redis://127.0.0.1:1', 'postgres://nobody@127.0.0.1:1/none'),
      HOST: 'no.such.host.invalid',
    },
    logFile: `${await temporaryDir()}/api.log`,
  });
  const exit = await waitFor(() => child.exit(), { what: 'the end', timeoutMs: 60_000 });
  assert.equal(exit.code, 1);
  const lines = child.output().trim().split('\n');
  const fatal = lines.map((line) => JSON.parse(line) as { level: string; msg: string; error?: object });
  const [{ msg, error } = { msg: '' }, ...more] = fatal.filter(({ level }) => level === 'fatal');
  assert.match(msg, /^cannot listen on port 0 of no\.such\.host\.invalid .* set HOST to an address/);
  assert.deepEqual([error, more], [undefined, []]);
});

test('defaults are those of the contract', () => {
  const config = readConfig({
    REDIS_URL: 'redis://127.0.0.1:6379',
    DATABASE_URL: 'postgres://127.0.0.1/x',
    ENCRYPTION_KEYS: `k:${Buffer.alloc(32).toString('base64')}`,
    OPENAI_API_KEY: 'x',
    GROQ_API_KEY: '',
  });
  assert.deepEqual([config.port, config.host, config.logLevel], [8080, '127.0.0.1', 'info']);
  assert.equal(config.queueRedisUrl, 'redis://127.0.0.1:6379');
  assert.deepEqual(config.defaultCaps, { runNano: 1e9, userDailyNano: 20e9, tenantDailyNano: 200e9 });
  assert.equal(config.providers.keys.openai, 'x');
  assert.deepEqual([config.rateLimitPerSecond, config.prices, config.shutdownDelayMs], [1000, {}, 5000]);
});
