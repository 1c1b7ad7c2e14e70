import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { z } from 'zod';
import { ConfigError, parseEnv } from './config.ts';
import {
  csv,
  keyring,
  logLevel,
  otlpEndpoint,
  port,
  positiveInt,
  seconds,
  url,
  usd,
} from './config-fields.ts';

const key = Buffer.alloc(32, 7);
const schema = z.object({
  STORE_URL: url(['redis', 'rediss']),
  KEYS: keyring,
  PORT: port(8080),
  SLOTS: positiveInt(100, 500),
  CAP: usd('0.29'),
  LEVEL: logLevel,
  ALLOW: csv,
  API_KEY: z.string().min(8, { error: 'expected at least 8 characters' }).optional(),
});
const required = { STORE_URL: 'redis://localhost:6379/1', KEYS: `k1:${key.toString('base64')}` };

test('defaults fill what is unset or empty, and other variables are ignored', () => {
  const config = parseEnv(schema, { ...required, PORT: '', CAP: undefined, HOME: '/root' });
  assert.deepEqual(config, {
    STORE_URL: 'redis://localhost:6379/1',
    KEYS: [{ id: 'k1', key }],
    PORT: 8080,
    SLOTS: 100,
    CAP: 290_000_000,
    LEVEL: 'info',
    ALLOW: [],
  });
});

test('space around a value, such as the line end of a file, is no part of it', () => {
  const { STORE_URL, SLOTS, LEVEL, PORT, API_KEY } = parseEnv(schema, {
    STORE_URL: ' redis://localhost:6379/1\n',
    KEYS: `${required.KEYS}\n`,
    SLOTS: '7\n',
    LEVEL: 'warn\r\n',
    PORT: ' \n',
    API_KEY: 'long enough\n',
  });
  assert.deepEqual(
    [STORE_URL, SLOTS, LEVEL, PORT, API_KEY],
    ['redis://localhost:6379/1', 7, 'warn', 8080, 'long enough'],
  );
});

test('values are read into their types', () => {
  const other = Buffer.alloc(32, 9);
  const config = parseEnv(schema, {
    ...required,
    KEYS: `k2:${other.toString('base64')}, k1:${key.toString('base64')}`,
    PORT: '0',
    SLOTS: '7',
    CAP: '0.1',
    LEVEL: 'warn',
    ALLOW: 'a.example:8080, , b.example',
  });
  assert.deepEqual(config.KEYS, [
    { id: 'k2', key: other },
    { id: 'k1', key },
  ]);
  assert.deepEqual([config.PORT, config.SLOTS, config.CAP, config.LEVEL], [0, 7, 100_000_000, 'warn']);
  assert.deepEqual(config.ALLOW, ['a.example:8080', 'b.example']);
});

test('one error lists every problem, one per line, and repeats no value', () => {
  const env = {
    STORE_URL: '',
    KEYS: `k1:${key.toString('base64')},SECRET_A,k1:${key.toString('base64')}`,
    PORT: '65536-SECRET_B',
    SLOTS: '0',
    CAP: 'SECRET_C',
    LEVEL: 'SECRET_D',
    API_KEY: 'S_E',
  };
  assert.throws(
    () => parseEnv(schema, env),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(error.message.split('\n'), [
        'bad configuration:',
        '  STORE_URL is missing: expected a URL: redis://... or rediss://...',
        '  KEYS is malformed: expected id:base64(32 bytes)[,id:base64(32 bytes)...]; entry 2 does not have this form',
        '  KEYS is malformed: expected id:base64(32 bytes)[,id:base64(32 bytes)...]; entry 3 repeats an id',
        '  PORT is malformed: expected a port, 0 to 65535',
        '  SLOTS is malformed: expected a whole number, 1 to 500',
        '  CAP is malformed: expected an amount in USD such as 20 or 0.5, at most 9 decimals, at most 9000000',
        '  LEVEL is malformed: expected one of debug, info, warn, error, fatal, silent',
        '  API_KEY is malformed: expected at least 8 characters',
      ]);
      return true;
    },
  );
});

test('a plain zod field that is missing is reported in the same form', () => {
  assert.throws(
    () => parseEnv(z.object({ NAME: z.string() }), {}),
    /^ConfigError: bad configuration:\n {2}NAME is missing: expected string$/,
  );
});

for (const malformed of ['localhost:6379', 'http://localhost', 'redis:6379', 'redis://', 'SECRET']) {
  test(`"${malformed}" is not a redis URL`, () => {
    assert.throws(() => parseEnv(schema, { ...required, STORE_URL: malformed }), /STORE_URL is malformed/);
  });
}

test('a duration ends where a timer would fire at once, and says where', () => {
  const fields = z.object({ LEASE: seconds(30, 60), STALL: seconds(60) });
  assert.deepEqual(parseEnv(fields, {}), { LEASE: 30, STALL: 60 });
  assert.deepEqual(parseEnv(fields, { LEASE: '60', STALL: '86400' }), { LEASE: 60, STALL: 86_400 });
  for (const [LEASE, STALL] of [
    ['61', '86401'],
    ['0', '2147483648'],
    ['999999999999999', '9999999999999999999'],
  ]) {
    assert.throws(
      () => parseEnv(fields, { LEASE, STALL }),
      /LEASE is malformed: expected a whole number of seconds, 1 to 60\n {2}STALL is malformed: expected .*1 to 86400$/,
    );
  }
});

test('a collector is named by a URL of HTTP, or not at all', () => {
  const fields = z.object({ OTLP: otlpEndpoint });
  assert.deepEqual(parseEnv(fields, {}), {});
  assert.deepEqual(parseEnv(fields, { OTLP: 'http://otel:4318' }), { OTLP: 'http://otel:4318' });
  for (const OTLP of ['notaurl', 'otel:4318', 'grpc://otel:4317'])
    assert.throws(() => parseEnv(fields, { OTLP }), /OTLP is malformed: expected a URL/);
});

test('a Postgres URL may name a socket directory instead of a host', () => {
  const text = 'postgres:///app?host=/var/run/postgresql';
  assert.deepEqual(parseEnv(z.object({ DB: url(['postgres']) }), { DB: text }), { DB: text });
});

for (const [name, encoded] of [
  ['31 bytes', Buffer.alloc(31).toString('base64')],
  ['hex', Buffer.alloc(32).toString('hex')],
  ['base64 without padding', key.toString('base64').slice(0, -1)],
] as const) {
  test(`a key as ${name} is refused and not repeated`, () => {
    assert.throws(
      () => parseEnv(schema, { ...required, KEYS: `k1:${encoded}` }),
      (error) => error instanceof ConfigError && !error.message.includes(encoded),
    );
  });
}

test('loadConfigOrExit prints the one message to stderr and exits with 78', () => {
  const script = `
    import { z } from 'zod';
    import { loadConfigOrExit } from './config.ts';
    import { port, url } from './config-fields.ts';
    loadConfigOrExit(z.object({ A_URL: url(['http']), PORT: port(1) }), { PORT: 'x' });
    console.log('went on');`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  });
  assert.equal(child.stdout, '');
  assert.deepEqual(child.stderr.trimEnd().split('\n'), [
    'bad configuration:',
    '  A_URL is missing: expected a URL: http://...',
    '  PORT is malformed: expected a port, 0 to 65535',
  ]);
  assert.equal(child.status, 78);
});
