import assert from 'node:assert/strict';
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import type { Readable } from 'node:stream';
import { test } from 'node:test';
import { createLogger } from './logger.ts';
import { ManualClock } from './manual-clock.ts';
import { createShutdown } from './shutdown.ts';

interface Entry {
  readonly level: string;
  readonly msg: string;
  readonly step?: string;
  readonly error?: { message: string; stack: string };
}

function setUp() {
  const entries: Entry[] = [];
  const write = (line: string) => entries.push(JSON.parse(line) as Entry);
  const logger = createLogger({ service: 's', level: 'info', destination: { write } });
  const events = new EventEmitter();
  const clock = new ManualClock();
  const exits: number[] = [];
  const shutdown = createShutdown({ logger, clock, events, exit: (code) => exits.push(code) });
  return { shutdown, events, clock, exits, entries };
}

test('a signal stops the steps one after the other, last registered first, then exits 0', async () => {
  const { shutdown, events, exits } = setUp();
  const seen: string[] = [];
  for (const name of ['store', 'queue', 'server']) {
    shutdown.onStop(name, async () => {
      seen.push(`${name} begins`);
      await new Promise(setImmediate);
      seen.push(`${name} done`);
    });
  }
  assert.equal(shutdown.stopping.aborted, false);
  events.emit('SIGTERM', 'SIGTERM');
  assert.equal(shutdown.stopping.aborted, true);
  await shutdown.stop('joins the first');
  assert.deepEqual(seen, [
    'server begins',
    'server done',
    'queue begins',
    'queue done',
    'store begins',
    'store done',
  ]);
  assert.deepEqual(exits, [0]);
});

test('a step that throws, rejects or hangs is logged, the rest still run, exit 1', async () => {
  const { shutdown, clock, exits, entries } = setUp();
  const seen: string[] = [];
  shutdown.onStop('first', () => seen.push('first'));
  shutdown.onStop('rejects', () => Promise.reject(new Error('no')));
  shutdown.onStop('throws', () => {
    throw new Error('bad');
  });
  shutdown.onStop('hangs', () => new Promise(() => undefined), { timeoutMs: 5_000 });
  const stopped = shutdown.stop('test');
  await clock.whenSleeping();
  await clock.advance(4_999);
  assert.deepEqual(seen, []);
  await clock.advance(1);
  await stopped;
  assert.deepEqual(seen, ['first']);
  assert.deepEqual(exits, [1]);
  const failures = entries
    .filter(({ level }) => level === 'error')
    .map(({ step, error }) => [step, error?.message]);
  assert.deepEqual(failures, [
    ['hangs', 'no answer within 5000 ms'],
    ['throws', 'bad'],
    ['rejects', 'no'],
  ]);
});

test('a step that may fail is given up early and spoils no orderly end', async () => {
  const { shutdown, clock, exits, entries } = setUp();
  shutdown.onStop('store', () => Promise.reject(new Error('away')), { mayFail: true });
  shutdown.onStop('hangs', () => new Promise(() => undefined), { mayFail: true });
  const stopped = shutdown.stop('test');
  await clock.whenSleeping();
  await clock.advance(2_000);
  await stopped;
  assert.deepEqual(exits, [0]);
  const warnings = entries.filter(({ level }) => level === 'warn').map(({ step }) => step);
  assert.deepEqual(warnings, ['hangs', 'store']);
});

test('a step registered while stopping still runs', async () => {
  const { shutdown, exits } = setUp();
  let late = false;
  shutdown.onStop('early', () => {
    shutdown.onStop('late', () => {
      late = true;
    });
  });
  await shutdown.stop('test');
  assert.equal(late, true);
  assert.deepEqual(exits, [0]);
});

test('a process that fails stops in the same order and exits 1; the first signal after it changes nothing', async () => {
  const { shutdown, events, exits } = setUp();
  let done = false;
  shutdown.onStop('work', async () => {
    events.emit('SIGTERM', 'SIGTERM');
    await new Promise(setImmediate);
    assert.deepEqual(exits, []);
    done = true;
  });
  await shutdown.fail('not alive');
  assert.equal(done, true);
  assert.deepEqual(exits, [1]);
  events.emit('SIGTERM', 'SIGTERM');
  assert.deepEqual(exits, [1, 130]);
});

const PROGRAM = `
  import { createLogger } from './logger.ts';
  import { createShutdown } from './shutdown.ts';
  const logger = createLogger({ service: 's', level: 'info' });
  const shutdown = createShutdown({ logger, exit: (code) => process.exit(code) });
  const keepAlive = setInterval(() => {}, 1000);
  shutdown.onStop('timer', () => clearInterval(keepAlive));
`;

/** Runs the program with `tail`; \`act\` gets the child once it has logged a first line. */
async function runChild(tail: string, act?: (child: ChildProcessByStdio<null, Readable, null>) => void) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', PROGRAM + tail], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 30_000,
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    if (output === '') act?.(child);
    output += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return {
    code,
    entries: output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Entry),
  };
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`a real ${signal} ends a process with 0 after its steps`, async () => {
    const { code, entries } = await runChild(`logger.info('up');`, (child) => child.kill(signal));
    assert.equal(code, 0);
    // Sorted: on a busy machine the last line before the exit has been seen to overtake the one before it.
    assert.deepEqual(entries.map(({ msg }) => msg).toSorted(), ['stopped', 'stopping', 'up']);
  });
}

test('a second signal exits 130 at once, though a step hangs', async () => {
  const tail = `
    shutdown.onStop('hangs', () => { process.kill(process.pid, 'SIGINT'); return new Promise(() => {}); });
    logger.info('up');`;
  const { code } = await runChild(tail, (child) => child.kill('SIGTERM'));
  assert.equal(code, 130);
});

test('an address that cannot be listened on is one line that says what to do, and exits 1', async () => {
  const { code, entries } = await runChild(`
    import { createServer } from 'node:http';
    import { listen } from './listen.ts';
    await listen(createServer(), { host: '192.0.2.1', port: 0, variable: 'PORT' });`);
  assert.equal(code, 1);
  const [entry, ...more] = entries;
  assert.deepEqual([entry?.level, entry?.error, more], ['fatal', undefined, []]);
  assert.match(entry?.msg ?? '', /^cannot listen on port 0 of 192\.0\.2\.1 \(EADDRNOTAVAIL\): set HOST to/);
});

for (const [kind, tail] of [
  ['uncaught exception', `setTimeout(() => { throw new Error('boom'); });`],
  ['unhandled rejection', `Promise.reject(new Error('boom'));`],
] as const) {
  test(`an ${kind} is logged as fatal with its stack and exits 1`, async () => {
    const { code, entries } = await runChild(tail);
    assert.equal(code, 1);
    assert.deepEqual(
      entries.map(({ level, msg, error }) => [level, msg, error?.message]),
      [['fatal', kind, 'boom']],
    );
    assert.match(entries[0]?.error?.stack ?? '', /Error: boom\n\s+at /);
  });
}
