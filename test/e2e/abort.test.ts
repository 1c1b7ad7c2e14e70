/**
 * Must show 4 and 5 of money and stop: an abort closes the provider's socket at once, is final, and charges
 * what was received; hints may be lost; what was never started makes no call; a filter stops a thousand.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { type Run, fromUsd } from '@signalbox/contracts';
import { type Service, startService, until } from '@signalbox/local';
import { runKey, setTenantCaps } from '@signalbox/run-state';
import {
  abortAll,
  isSlow,
  percentile,
  receiptOf,
  requestsOf,
  SLOW_STREAM,
  type SlowRun,
  type Stopped,
  streaming,
  submitSlow,
} from './aborting.ts';
import {
  FULL,
  providerRequests,
  settled,
  spentToday,
  startSystem,
  taggedAgent,
  violations,
} from './stack.ts';

const STREAMS = FULL ? 200 : 60;
const BULK = FULL ? 1000 : 300;
const WORKERS = 2;
/** Posts under way at once. */
const LANES = 8;
/** On a machine that has nothing else to do. */
const UNFELT_MS = FULL ? 2000 : 20_000;

/** Takes requests of the tool and never answers. */
const silent = { open: 0, closed: 0 };
const silentServer = createServer((req) => {
  silent.open += 1;
  req.socket.once('close', () => (silent.closed += 1));
});
await new Promise<void>((resolve) => silentServer.listen(0, '127.0.0.1', resolve));
const silentPort = (silentServer.address() as AddressInfo).port;

const system = await startSystem({
  workers: WORKERS,
  provider: { behave: ({ instructions }) => (isSlow(instructions) ? SLOW_STREAM : undefined) },
  env: {
    WORKER_CONCURRENCY: String(STREAMS / WORKERS),
    HTTP_TOOL_ALLOW: `127.0.0.1:${silentPort}`,
    DRAIN_SECONDS: '60',
    ENCRYPTION_KEYS: `test:${randomBytes(32).toString('base64')}`,
  },
});
const late: Service[] = [];
after(async () => {
  await Promise.all(late.map((worker) => worker.stop({ graceMs: 60_000 })));
  await system.stop();
  silentServer.closeAllConnections();
  silentServer.close();
});

/** Every run of this file, by the tag its requests carry. */
const runOfTag = new Map<string, string>();
const known = (runs: readonly SlowRun[]): SlowRun[] => {
  for (const { id, tag } of runs) runOfTag.set(tag, id);
  return [...runs];
};
const start = async (name: string, count: number, body: object = {}): Promise<SlowRun[]> =>
  known(await submitSlow(system, name, count, body));
const idsOf = (runs: readonly SlowRun[]): string[] => runs.map(({ id }) => id);

const abort = async (id: string): Promise<{ status: number; json: Record<string, unknown> }> =>
  system.api.request(`/v1/runs/${id}/abort`, { method: 'POST' });

/** All journals as they are stored now. */
const journals = (ids: readonly string[]): Promise<string[][]> =>
  Promise.all(
    ids.map((id) => system.partition.redis.lrange(runKey(system.partition, id, 'events'), 0, '-1')),
  );

const allEnded = async (ids: readonly string[]): Promise<void> => {
  assert.deepEqual([...(await settled(system, ids))], [['aborted', ids.length]]);
  const requests = providerRequests(system.provider, runOfTag);
  // A call may be announced and never sent, when the abort comes between; no call is sent unannounced.
  assert.deepEqual(await violations(system, requests, { crashes: true }), []);
};

const table = (what: string, stopped: readonly Stopped[]): void => {
  const line = (name: string, values: number[]): string =>
    `${name.padEnd(38)} p50 ${percentile(values, 50)} ms, p99 ${percentile(values, 99)} ms, most ${Math.max(...values)} ms\n`;
  const closed = stopped.map(({ closedMs }) => closedMs);
  const answered = stopped.map(({ answeredMs }) => answeredMs);
  process.stdout.write(
    `${what}\n${line('  POST to the provider seeing it closed', closed)}${line('  POST to its answer', answered)}`,
  );
};

/** What the run says and what the provider bills for it: never nothing, never more than was held. */
const checkCharge = async ({ id, tag }: SlowRun): Promise<void> => {
  const run = await system.api.run(id);
  const [call, ...more] = requestsOf(system, [{ id, tag }]);
  assert.equal(more.length, 0);
  const held = (await system.api.events(id)).flatMap(({ type, data }) =>
    type === 'llm.requested' ? [(data['hold'] as { amount_nano: number }).amount_nano] : [],
  );
  const charged = fromUsd(run.cost.observed_usd);
  assert.ok(charged > 0 && charged <= (held[0] ?? 0), `${id}: ${charged} of ${held[0]} held`);
  assert.ok(charged >= (call?.costNano ?? 0), `${id}: charged ${charged}, billed ${call?.costNano}`);
  assert.deepEqual(receiptOf(run), {
    caught: 'in_flight',
    call_closed: true,
    settled_usd: run.cost.observed_usd,
  });
  assert.equal(run.abort?.effective_at, run.finished_at);
};

test(`${STREAMS} streams on ${WORKERS} workers: each abort is felt at once, final, and paid for`, async () => {
  const runs = await start('stream', STREAMS);
  await streaming(system, runs);

  // All slots are taken, so this one stays in the queue.
  const [queued] = await start('queued', 1);
  assert.ok(queued !== undefined);
  const { status, json } = await abort(queued.id);
  assert.deepEqual([status, json['status']], [202, 'aborted']);
  const none = { caught: 'before_start', call_closed: false, settled_usd: 0 };
  assert.deepEqual(receiptOf(json as Run), none);

  const stopped = await abortAll(system, runs, LANES);
  table(`${STREAMS} streams aborted, ${LANES} posts at a time:`, stopped);
  assert.ok(Math.max(...stopped.map(({ closedMs }) => closedMs)) < UNFELT_MS);
  const ids = [...idsOf(runs), queued.id];
  await allEnded(ids);
  for (const run of runs) await checkCharge(run);
  assert.equal(requestsOf(system, [queued]).length, 0);

  // Nothing comes after the end: not by another abort, not by another run.
  const atRest = await journals(ids);
  const asked = system.provider.ledger.length;
  for (const id of ids) assert.deepEqual((await abort(id)).json['code'], 'run_terminal');
  const next = await system.api.submit({ agent: taggedAgent('after'), input: 'still there?' });
  runOfTag.set('after', next.id);
  assert.equal((await system.api.end(next.id)).status, 'succeeded');
  assert.equal(system.provider.ledger.length, asked + 1);
  assert.deepEqual(await journals(ids), atRest);
});

test('runs that wait, for a time or for room under a cap, end at once and make no call', async () => {
  const [timed] = await start('timed', 1, { run_at: new Date(Date.now() + 3_600_000).toISOString() });
  const [holder] = await start('holder', 1);
  assert.ok(timed !== undefined && holder !== undefined);
  await streaming(system, [holder]);
  const { spentNano, heldNano } = await spentToday(system);
  const tenantDailyNano = spentNano + Math.ceil(heldNano * 1.5);
  await setTenantCaps(system.partition, 'default', { tenantDailyNano });
  const [parked] = await start('parked', 1);
  assert.ok(parked !== undefined);
  await until(
    'the run to wait for room',
    async () => (await system.api.run(parked.id)).waiting_for === 'capacity',
  );
  for (const { id } of [timed, parked]) {
    const { json } = await abort(id);
    assert.deepEqual([json['status'], (json as Run).abort?.caught], ['aborted', 'before_start']);
  }
  await setTenantCaps(system.partition, 'default', { tenantDailyNano: null });
  await abortAll(system, [holder], 1);
  await allEnded(idsOf([timed, holder, parked]));
  assert.deepEqual(requestsOf(system, [timed, parked]), []);
});

test('runs that were just submitted: whatever stage the abort meets, they end', async () => {
  const runs: SlowRun[] = [];
  for (let n = 0; n < 20; n += 1) {
    const [run] = await start(`fresh${n}`, 1);
    if (run === undefined) continue;
    runs.push(run);
    await new Promise((resolve) => setTimeout(resolve, n));
    assert.equal((await abort(run.id)).status, 202);
  }
  await allEnded(idsOf(runs));
});

test('an open tool call is closed', async () => {
  const call = { name: 'http_request', arguments: { method: 'GET', url: `http://127.0.0.1:${silentPort}/` } };
  const run = await system.api.submit({
    agent: taggedAgent('tool', { tools: ['http_request'] }),
    input: JSON.stringify({ turns: [{ tool_calls: [call] }, { text: 'never' }] }),
  });
  runOfTag.set('tool', run.id);
  await until('the tool to call', () => silent.open > 0);
  assert.equal((await abort(run.id)).status, 202);
  const ended = await system.api.end(run.id, 10_000);
  assert.deepEqual(receiptOf(ended), { caught: 'in_flight', call_closed: true, settled_usd: 0 });
  await until('its socket', () => silent.closed > 0);
  await allEnded([run.id]);
});

test(`${BULK} runs, streaming and queued, are stopped by one filter`, async () => {
  const runs = await start('bulk', BULK, { user_id: 'bulk', session_id: 'incident' });
  const [other] = await start('other', 1, { user_id: 'else' });
  assert.ok(other !== undefined);
  await until('half of the slots to stream', () => requestsOf(system, runs).length >= STREAMS / 2);
  const filter = { user_id: 'bulk', session_id: 'incident' };
  const post = (body: object) => system.api.request('/v1/runs/abort', { body: { filter, ...body } });
  const counted = await post({ dry_run: true });
  assert.partialDeepStrictEqual(counted.json, { dry_run: true, matched: BULK, aborted: 0, more: false });
  const at = performance.now();
  const { status, json } = await post({ reason: 'incident' });
  const answeredMs = performance.now() - at;
  assert.equal(status, 202);
  assert.partialDeepStrictEqual(json, { matched: BULK, aborted: BULK, already_ended: 0, more: false });
  assert.equal((await system.api.run(other.id)).abort, null);
  assert.equal((await abort(other.id)).status, 202);
  await allEnded(idsOf([...runs, other]));
  const calls = requestsOf(system, runs).length;
  assert.ok(calls < BULK, `${calls} calls`);
  process.stdout.write(
    `${BULK} runs by filter: answered after ${answeredMs.toFixed(0)} ms; ${calls} had been called, and stayed so\n`,
  );
});

/** Workers whose Redis user may not subscribe to the hints: they only find the flags by looking. */
const deafWorkers = async (): Promise<void> => {
  const { redis } = system.partition;
  await redis.call(
    'ACL',
    'SETUSER',
    'deaf',
    'on',
    '>deaf',
    '~*',
    '+@all',
    'resetchannels',
    `&${system.partition.root}:tail:*`,
  );
  const { DATABASE_URL: _, ...env } = system.env;
  for (let n = 1; n <= WORKERS; n += 1) {
    late.push(
      await startService({
        name: `deaf-${n}`,
        entry: 'services/worker/src/main.ts',
        env: {
          ...process.env,
          ...env,
          REDIS_URL: system.redis.url.replace('redis://', 'redis://deaf:deaf@'),
          METRICS_PORT: '0',
        },
        logDir: system.stack.logDir,
      }),
    );
  }
};

test('workers that drain still feel an abort, and then stop in good order', async () => {
  const runs = await start('drain', 10);
  await streaming(system, runs);
  const stopping = system.stack.workers.map((worker) => worker.stop({ graceMs: 60_000 }));
  await until('the workers to drain', async () => {
    const answers = await Promise.all(system.stack.workers.map(({ url }) => fetch(`${url}/readyz`)));
    return answers.every(({ status }) => status === 503);
  });
  table('10 streams of draining workers aborted:', await abortAll(system, runs, LANES));
  for (const exit of await Promise.all(stopping)) assert.deepEqual(exit, { code: 0, signal: null });
  await allEnded(idsOf(runs));
});

test(`workers that hear no hint find the abort themselves within ${UNFELT_MS} ms`, async () => {
  await deafWorkers();
  const runs = await start('deaf', 20);
  await streaming(system, runs);
  const stopped = await abortAll(system, runs, LANES);
  table('20 streams aborted, hints blocked:', stopped);
  assert.ok(Math.max(...stopped.map(({ closedMs }) => closedMs)) < UNFELT_MS);
  await allEnded(idsOf(runs));
  for (const run of runs) await checkCharge(run);
  for (const { name } of late) {
    assert.match(readFileSync(`${system.stack.logDir}/${name}.log`, 'utf8'), /abort hints refused/);
  }
});
