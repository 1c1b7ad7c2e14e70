import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';

interface Received {
  readonly path: string | undefined;
  readonly body: string;
}

/** Runs a program that makes one span, with an OTLP collector listening; answers what the collector received. */
async function runTraced(t: { after(fn: () => void): void }, on: boolean) {
  const received: Received[] = [];
  const collector = createServer((request, response) => {
    let body = '';
    request.setEncoding('latin1').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      received.push({ path: request.url, body });
      response.end('{}');
    });
  });
  collector.listen(0, '127.0.0.1');
  await once(collector, 'listening');
  t.after(() => collector.close());
  const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
  const script = `
    import { logs, metrics, trace } from '@opentelemetry/api';
    import { startTelemetry } from './telemetry.ts';
    const telemetry = await startTelemetry({
      service: 'svc-1', version: '9.8.7', endpoint: process.env.OTEL_EXPORTER_OTLP_ENDPOINT,
    });
    trace.getTracer('t').startActiveSpan('the-span', (span) => span.end());
    metrics.getMeter('t').createCounter('c').add(1);
    logs.getLogger('t').emit({ body: 'b' });
    await telemetry.shutdown();`;
  const { PATH, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd: import.meta.dirname,
    env: { PATH, NODE_COMPILE_CACHE, ...(on && { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }) },
    stdio: 'inherit',
    timeout: 30_000,
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, received };
}

test('with an endpoint, spans are delivered at shutdown under the service name and version, and nothing else', async (t) => {
  const { code, received } = await runTraced(t, true);
  assert.equal(code, 0);
  assert.deepEqual(
    received.map(({ path }) => path),
    ['/v1/traces'],
  );
  for (const text of ['the-span', 'svc-1', '9.8.7']) assert.ok(received[0]?.body.includes(text), text);
});

test('a collector that is away is told of in one line a minute, without a stack', () => {
  const script = `
    import { setTimeout } from 'node:timers/promises';
    import { trace } from '@opentelemetry/api';
    import { createLogger } from './logger.ts';
    import { startTelemetry } from './telemetry.ts';
    const logger = createLogger({ service: 'svc-1', level: 'info' });
    const endpoint = process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
    const telemetry = await startTelemetry({ service: 'svc-1', version: '9.8.7', endpoint, logger });
    trace.getTracer('t').startActiveSpan('first', (span) => span.end());
    await setTimeout(200);
    trace.getTracer('t').startActiveSpan('second', (span) => span.end());
    await telemetry.shutdown().catch(() => undefined);`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: import.meta.dirname,
    // Nobody listens on the first port.
    env: {
      PATH: process.env['PATH'],
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1',
      OTEL_EXPORTER_OTLP_TIMEOUT: '500',
      OTEL_BSP_SCHEDULE_DELAY: '10',
    },
    encoding: 'utf8',
    timeout: 60_000,
  });
  const entries = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { msg: string; error: { message: string; stack?: string } });
  assert.deepEqual(
    entries.map(({ msg, error }) => [msg, error.stack]),
    [['spans cannot be delivered to OTEL_EXPORTER_OTLP_ENDPOINT', undefined]],
  );
  assert.match(entries[0]?.error.message ?? '', /ECONNREFUSED/);
});

test('without an endpoint nothing is sent and making spans costs nothing', async (t) => {
  const { code, received } = await runTraced(t, false);
  assert.equal(code, 0);
  assert.deepEqual(received, []);
});
