import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heartbeat, liveReport, watchLiveness } from './liveness.ts';
import { createLogger } from './logger.ts';
import { ManualClock } from './manual-clock.ts';

const LIMIT_MS = 60_000;

const watching = () => {
  const clock = new ManualClock();
  const heart = new Heartbeat({ clock, limitMs: LIMIT_MS });
  heart.beat();
  const live = () => liveReport({ loop: () => heart.check(), other: () => ({ ok: true }) });
  const lines: string[] = [];
  const logger = createLogger({
    service: 's',
    level: 'info',
    destination: { write: (line) => lines.push(line) },
  });
  const ends: string[] = [];
  const stopping = new AbortController();
  const watched = watchLiveness({
    live,
    clock,
    logger,
    stopping: stopping.signal,
    everyMs: 5_000,
    end: (reason) => ends.push(reason),
  });
  return { clock, heart, live, lines, ends, stopping, watched };
};

test('a loop is late when it makes no round for longer than the limit, and says for how long', async () => {
  const { clock, heart, live, stopping } = watching();
  await clock.advance(LIMIT_MS);
  assert.equal(live().status, 'ok');
  await clock.advance(1_000);
  assert.deepEqual(live(), {
    status: 'unavailable',
    checks: { loop: { ok: false, detail: 'no round for 61 s' }, other: { ok: true } },
  });
  heart.beat();
  assert.equal(live().status, 'ok');
  stopping.abort();
});

test('nothing is expected of a resting loop until it beats again', async () => {
  const { clock, heart, live, ends } = watching();
  heart.rest();
  await clock.advance(LIMIT_MS * 10);
  assert.equal(live().status, 'ok');
  heart.beat();
  await clock.advance(LIMIT_MS + 1);
  assert.equal(live().status, 'unavailable');
  assert.deepEqual(ends, []);
});

test('a process found dead twice in a row is ended once, and the log says why', async () => {
  const { clock, lines, ends, watched } = watching();
  await clock.advance(LIMIT_MS + 5_000);
  assert.deepEqual(ends, [], 'one look is not enough');
  await clock.advance(20_000);
  assert.deepEqual(ends, ['not alive']);
  await watched;
  assert.equal(lines.length, 1);
  assert.match(lines[0] ?? '', /"fatal".*no round for 70 s/);
});

test('one that was paused and goes on is not ended, nor is one that stops', async () => {
  const { clock, heart, ends, stopping, watched } = watching();
  await clock.advance(LIMIT_MS + 5_000);
  heart.beat();
  await clock.advance(5_000);
  assert.deepEqual(ends, []);
  stopping.abort();
  await watched;
  await clock.advance(LIMIT_MS * 2);
  assert.deepEqual(ends, []);
});

test('nothing is expected of a loop that has not begun', async () => {
  const clock = new ManualClock();
  const heart = new Heartbeat({ clock, limitMs: LIMIT_MS });
  await clock.advance(LIMIT_MS * 2);
  assert.deepEqual(heart.check(), { ok: true });
});
