import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type HealthServerOptions, startHealthServer } from './health.ts';
import { createLogger } from './logger.ts';
import { ManualClock } from './manual-clock.ts';
import { createMetrics } from './metrics.ts';
import { checkReadiness, type ReadyReport } from './readiness.ts';

const ok: ReadyReport = { status: 'ok', checks: {} };

async function serve(t: TestContext, options: Partial<HealthServerOptions> = {}) {
  const lines: string[] = [];
  const logger = createLogger({
    service: 's',
    level: 'info',
    destination: { write: (line) => lines.push(line) },
  });
  const server = await startHealthServer({
    host: '127.0.0.1',
    port: 0,
    metrics: createMetrics({ prefix: 'app_' }),
    ready: async () => ok,
    live: () => ok,
    logger,
    ...options,
  });
  t.after(() => server.close());
  return { ...server, base: `http://127.0.0.1:${server.port}`, lines };
}

test('port 0 binds a free port and logs it once as "listening"', async (t) => {
  const { port, lines } = await serve(t);
  assert.ok(port > 0);
  const entries = lines.map((line) => JSON.parse(line) as { msg: string; port: number });
  assert.deepEqual(
    entries.map(({ msg, port: logged }) => [msg, logged]),
    [['listening', port]],
  );
});

test('a taken port, and a host that this machine has not, are rejected with what to do', async (t) => {
  const { port } = await serve(t);
  await assert.rejects(serve(t, { port }), {
    name: 'ListenError',
    message: `cannot listen on port ${port} of 127.0.0.1 (EADDRINUSE): it is taken; end what listens there, or set METRICS_PORT to another`,
  });
  await assert.rejects(serve(t, { host: 'no.such.host.invalid' }), {
    name: 'ListenError',
    message:
      /^cannot listen on port 0 of no\.such\.host\.invalid \(E[A-Z_]+\): set HOST to an address of this machine/,
  });
  await assert.rejects(serve(t, { host: '192.0.2.1' }), { message: /EADDRNOTAVAIL\): set HOST to/ });
});

for (const [status, code] of [
  ['ok', 200],
  ['degraded', 200],
  ['unavailable', 503],
] as const) {
  test(`${status} answers ${code} with the report`, async (t) => {
    const report: ReadyReport = { status, checks: { store: { ok: status === 'ok', detail: 'd' } } };
    const { base } = await serve(t, { ready: async () => report, live: () => report });
    for (const path of ['/readyz', '/healthz']) {
      const response = await fetch(base + path);
      assert.equal(response.status, code);
      assert.deepEqual(await response.json(), report);
    }
  });
}

test('/metrics gives the Prometheus text', async (t) => {
  const response = await fetch(`${(await serve(t)).base}/metrics`);
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type') ?? '', /^text\/plain/);
  assert.match(await response.text(), /^app_event_loop_lag_seconds /m);
});

test('other paths and methods are not found', async (t) => {
  const { base } = await serve(t);
  assert.equal((await fetch(`${base}/`)).status, 404);
  assert.equal((await fetch(`${base}/healthz/x`)).status, 404);
  assert.equal((await fetch(`${base}/healthz`, { method: 'POST', body: 'x' })).status, 404);
  assert.equal((await fetch(`${base}/healthz?verbose`)).status, 200);
});

test('a ready check that hangs or throws makes the process unready, not hung', async (t) => {
  const clock = new ManualClock();
  const hanging = await serve(t, { clock, ready: () => new Promise(() => undefined) });
  const pending = fetch(`${hanging.base}/readyz`);
  await clock.whenSleeping();
  await clock.advance(2_000);
  const response = await pending;
  assert.equal(response.status, 503);
  assert.deepEqual(await response.json(), {
    status: 'unavailable',
    checks: { ready: { ok: false, detail: 'no answer within 2000 ms' } },
  });

  const throwing = await serve(t, {
    live: () => {
      throw new Error('loop is stuck');
    },
  });
  const dead = await fetch(`${throwing.base}/healthz`);
  assert.equal(dead.status, 503);
  assert.match(await dead.text(), /loop is stuck/);
});

test('close cuts requests that are still waiting for their answer', async (t) => {
  const clock = new ManualClock();
  const { close, base } = await serve(t, { clock, ready: () => new Promise(() => undefined) });
  const cut = assert.rejects(fetch(`${base}/readyz`));
  await clock.whenSleeping();
  await close();
  await cut;
  await assert.rejects(fetch(`${base}/healthz`));
});

test('checks run side by side; only a required one makes it unavailable; the one that hangs is named', async () => {
  const clock = new ManualClock();
  const refused = Object.assign(new AggregateError([]), { code: 'ECONNREFUSED' });
  const pass = { run: async () => 1, required: true };
  const optional = { run: () => Promise.reject(refused), required: false };
  assert.deepEqual(await checkReadiness({ pass, optional }, { clock }), {
    status: 'degraded',
    checks: { pass: { ok: true }, optional: { ok: false, detail: 'ECONNREFUSED' } },
  });
  const hang = { run: () => new Promise(() => undefined), required: true };
  const checking = checkReadiness({ hang, optional, pass }, { clock, timeoutMs: 500 });
  await clock.advance(500);
  assert.deepEqual(await checking, {
    status: 'unavailable',
    checks: {
      hang: { ok: false, detail: 'no answer within 500 ms' },
      optional: { ok: false, detail: 'ECONNREFUSED' },
      pass: { ok: true },
    },
  });
});
