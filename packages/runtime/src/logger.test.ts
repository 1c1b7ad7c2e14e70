import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { createLogger, type LoggerOptions } from './logger.ts';
import { ManualClock } from './manual-clock.ts';

const SECRET = 'sk-secret';
const text = (from: string) => from.replaceAll(SECRET, '[redacted]');
const redactor = { text, json: (value: unknown): unknown => JSON.parse(text(JSON.stringify(value))) };

function capture(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line) };
  const logger = createLogger({ service: 'svc', level: 'debug', redactor, destination, ...options });
  return { logger, lines, entries: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

test('an entry is one JSON line with level, time, service, message and fields', () => {
  const { logger, lines, entries } = capture();
  logger.info('listening', { port: 80, nested: { list: [1, null, true], big: 10n } });
  assert.equal(lines.length, 1);
  assert.ok(lines[0]?.endsWith('}\n'));
  const { time, pid, ...rest } = entries()[0] ?? {};
  assert.deepEqual(rest, {
    level: 'info',
    service: 'svc',
    msg: 'listening',
    port: 80,
    nested: { list: [1, null, true], big: '10' },
  });
  assert.equal(pid, process.pid);
  assert.equal(new Date(String(time)).toISOString(), time);
});

test('R13: no text gets past redact: message, values, keys, errors, causes, child fields, toJSON, maps', () => {
  const { logger, lines, entries } = capture();
  const cause = Object.assign(new Error(`cause ${SECRET}`), {
    code: `E_${SECRET}`,
    headers: { key: SECRET },
  });
  const error = new AggregateError([new Error(SECRET)], `outer ${SECRET}`, { cause });
  logger.child({ who: SECRET }).error(`failed with ${SECRET}`, {
    error,
    [SECRET]: 'key',
    list: [SECRET, { deep: SECRET }],
    url: new URL(`http://host/${SECRET}`),
    map: new Map([['k', SECRET]]),
    set: new Set([SECRET]),
    bytes: Buffer.from(SECRET),
  });
  assert.ok(!lines.join('').includes(SECRET));
  assert.ok(!lines.join('').includes(Buffer.from(SECRET).toString('base64')));
  const [entry] = entries();
  assert.equal(entry?.['msg'], 'failed with [redacted]');
  assert.equal(entry?.['who'], '[redacted]');
  assert.equal(entry?.['bytes'], '[9 bytes]');
});

test('an error becomes type, message, stack, code and cause, and nothing else of it', () => {
  const { logger, entries } = capture();
  const error = Object.assign(new TypeError('bad', { cause: new Error('why') }), {
    code: 'E_BAD',
    request: {},
  });
  logger.warn('x', { error });
  const logged = entries()[0]?.['error'] as Record<string, unknown>;
  assert.deepEqual(Object.keys(logged).toSorted(), ['cause', 'code', 'message', 'stack', 'type']);
  assert.equal(logged['type'], 'TypeError');
  assert.equal(logged['code'], 'E_BAD');
  assert.match(String(logged['stack']), /TypeError: bad\n\s+at /);
  assert.equal((logged['cause'] as Record<string, unknown>)['message'], 'why');
});

test('an error that passes by itself, or of the network, has no stack, nor has its cause', () => {
  const { logger, entries } = capture();
  const refused = Object.assign(new Error('connect ECONNREFUSED'), {
    code: 'ECONNREFUSED',
    syscall: 'connect',
  });
  const passing = Object.assign(new Error('Postgres is away', { cause: new Error('refused') }), {
    retryable: true,
  });
  const broken = Object.assign(new Error('a bug', { cause: refused }), { retryable: false });
  for (const error of [refused, passing, broken]) logger.error('x', { error });
  const logged = entries().map(({ error }) => error as { stack?: string; cause?: { stack?: string } });
  assert.deepEqual(
    logged.map(({ stack, cause }) => [stack !== undefined, cause?.stack !== undefined]),
    [
      [false, false],
      [false, false],
      [true, false],
    ],
  );
});

test('entries below the level are not written, nor are their fields looked at', () => {
  const { logger, lines } = capture({ level: 'warn' });
  const fields = {
    get expensive(): never {
      throw new Error('was read');
    },
  };
  logger.info('quiet', fields);
  assert.deepEqual(lines, []);
});

test('fields that cannot be written cost the fields, not the process', () => {
  const { logger, entries } = capture();
  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  logger.info('circular', { circular });
  logger.info('throws', {
    get broken(): never {
      throw new Error(SECRET);
    },
  });
  assert.deepEqual(entries()[0]?.['circular'], { self: '[circular]' });
  assert.equal(entries()[1]?.['fields'], '[not loggable]');
});

test('a redact that throws hides the text instead of leaking it', () => {
  const { logger, lines, entries } = capture({
    redactor: {
      ...redactor,
      text: () => {
        throw new Error('broken');
      },
    },
  });
  logger.info(SECRET, { value: SECRET });
  assert.equal(entries()[0]?.['msg'], '[not loggable]');
  assert.ok(!lines.join('').includes(SECRET));
});

test('a warning of the same error is written once a minute, and tells how often it was left out', async () => {
  const clock = new ManualClock();
  const { logger, entries } = capture({ level: 'info', clock });
  const away = (message = 'connect ECONNREFUSED') => ({ error: new Error(message) });
  logger.warn('Redis failed', away());
  logger.warn('Redis failed', { ...away(), role: 'queue' });
  logger.child({ part: 'x' }).warn('Redis failed', away());
  logger.warn('Redis failed', away('WRONGPASS'));
  logger.warn('tick failed', away());
  await clock.advance(60_000);
  logger.warn('Redis failed', away());
  assert.deepEqual(
    entries().map(({ msg, error, repeated }) => [msg, (error as Error).message, repeated]),
    [
      ['Redis failed', 'connect ECONNREFUSED', undefined],
      ['Redis failed', 'WRONGPASS', undefined],
      ['tick failed', 'connect ECONNREFUSED', undefined],
      ['Redis failed', 'connect ECONNREFUSED', 2],
    ],
  );
});

test('errors, warnings without an error, those that name a run, and all at level debug are written each time', () => {
  const error = new Error('same');
  const { logger, lines } = capture({ level: 'info' });
  const debug = capture({ level: 'debug' });
  for (let i = 0; i < 2; i += 1) {
    logger.error('broken', { error });
    logger.warn('late', { ms: i });
    logger.warn('run lost', { run_id: `run_${i}`, error });
    debug.logger.warn('Redis failed', { error });
  }
  assert.equal(lines.length, 6);
  assert.equal(debug.lines.length, 2);
});

test('without a destination lines go to stdout, also those written just before the exit', () => {
  const script = `
    import { createLogger } from './logger.ts';
    createLogger({ service: 'svc', level: 'info' }).fatal('last words');
    process.exit(3);`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  });
  assert.equal(child.status, 3);
  assert.equal((JSON.parse(child.stdout) as { msg: string }).msg, 'last words');
});
