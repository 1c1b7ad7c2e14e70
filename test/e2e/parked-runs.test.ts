/**
 * Must show 6: parked runs hold no slot, no lock and no job, and once they hibernate each takes less than 1 KB of
 * Redis; they are still read, aborted and woken like any other, and all end.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { waitFor, until } from '@signalbox/local';
import { runKey } from '@signalbox/run-state';
import { allStored } from '../support/all-stored.ts';
import { metric } from './failing-workers.ts';
import { frames } from './sse-reader.ts';
import { FULL, settled, startSystem, violations } from './stack.ts';

const RUNS = FULL ? 5000 : 150;
/** Of them, those that a timer wakes while we look on. */
const SHORT = 20;
/** Long enough for all to hibernate before. */
const SHORT_SECONDS = FULL ? 90 : 30;
const LANES = 16;
const HOUR = 3600;
const KB = 1024;

const system = await startSystem({ env: { HIBERNATE_AFTER_SECONDS: '1' } });
after(() => system.stop());
const { partition, api } = system;
const { redis, root } = partition;

const later = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();

/** Waits for `seconds` in its first step. */
const waiting = (n: number, seconds: number): object => ({
  agent: { model: 'mock/script', tools: ['wait'] },
  input: JSON.stringify({
    turns: [{ tool_calls: [{ name: 'wait', arguments: { seconds } }] }, { text: '{{tool_results}}' }],
  }),
  user_id: `user-${n % 10}`,
  session_id: `session-${n}`,
});

/** Waits before it starts. */
const delayed = (n: number): object => ({
  agent: { model: 'mock/echo' },
  input: `run ${n}`,
  user_id: `user-${n % 10}`,
  run_at: later(HOUR),
});

const submitAll = async (bodies: readonly object[]): Promise<string[]> => {
  const ids = Array.from({ length: bodies.length }, () => '');
  const left = [...bodies.keys()];
  const lane = async (): Promise<void> => {
    for (let n = left.shift(); n !== undefined; n = left.shift()) {
      const headers = { 'idempotency-key': `key-${n}-${bodies.length}` };
      ids[n] = (await api.submit(bodies[n] ?? {}, headers)).id;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return ids;
};

const scan = async (pattern: string): Promise<string[]> => {
  const keys = new Set<string>();
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1000);
    for (const key of found) keys.add(key);
    cursor = next;
  } while (cursor !== '0');
  return [...keys];
};

const bytesOf = async (keys: readonly string[]): Promise<number> => {
  const sizes = await Promise.all(keys.map((key) => redis.memory('USAGE', key, 'SAMPLES', 0)));
  return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
};

const asleep = (count: number): Promise<true> =>
  waitFor(async () => ((await redis.zcard(`${root}:asleep`)) === count ? true : undefined), {
    what: `${count} runs to hibernate`,
    timeoutMs: 240_000,
  });

const bodies = {
  delayed: Array.from({ length: RUNS / 2 }, (_, n) => delayed(n)),
  waiting: Array.from({ length: RUNS / 2 - SHORT }, (_, n) => waiting(n, HOUR)),
  short: Array.from({ length: SHORT }, (_, n) => waiting(n, SHORT_SECONDS)),
};

const assertNothingHeld = async (): Promise<void> => {
  const { parked, delayed: timed, active, runnable } = (await api.request('/v1/autoscale')).json;
  assert.deepEqual(
    { parked, timed, active, runnable },
    { parked: RUNS, timed: RUNS, active: 0, runnable: 0 },
  );
  for (const worker of system.stack.workers) {
    assert.equal(await metric(worker, 'worker_slots_busy'), 0);
    assert.equal(await metric(worker, 'runs_active'), 0);
  }
  const jobs = await Promise.all([
    ...['wait', 'active', 'paused'].map((list) => redis.llen(`${root}:activations:${list}`)),
    ...['delayed', 'prioritized', 'completed', 'failed'].map((set) =>
      redis.zcard(`${root}:activations:${set}`),
    ),
  ]);
  assert.deepEqual(jobs, [0, 0, 0, 0, 0, 0, 0]);
  const ofBullMq = await scan(`${root}:activations:*`);
  assert.deepEqual(
    ofBullMq.filter((key) => /run_|:lock$/.test(key)),
    [],
  );
  assert.deepEqual(await scan(`${root}:lease:*`), []);
};

const footprint = async () => ({
  used: Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]),
  // What is there whether a run is parked or not: keys that repeat an answer, BullMQ's log of its last jobs.
  idempotency: await bytesOf(await scan(`${root}:idem:*`)),
  log: await bytesOf([`${root}:activations:events`]),
});
type Footprint = Awaited<ReturnType<typeof footprint>>;

/** Bytes a run: of its record and its places in indexes, and by how much the server has grown. */
const assertSmall = async (ids: readonly string[], before: Footprint): Promise<void> => {
  const own = new Set(ids);
  const records = (await scan(`${root}:run:*`)).filter((key) =>
    own.has(/run_[0-9a-f]{32}/.exec(key)?.[0] ?? ''),
  );
  assert.equal(records.length, RUNS, 'a record each, and nothing else');
  const record = (await bytesOf(records)) / RUNS;
  const indexes = (await bytesOf([`${root}:asleep`, `${root}:timers`])) / RUNS;
  await allStored(system.partition);
  const now = await footprint();
  const grown = (what: keyof Footprint): number => (now[what] - before[what]) / RUNS;
  process.stdout.write(
    `${RUNS} hibernated runs: ${record.toFixed(0)} bytes of record and ${indexes.toFixed(0)} of indexes each; ` +
      `used_memory grew by ${grown('used').toFixed(0)} bytes a run, of which ${grown('idempotency').toFixed(0)} ` +
      `are its idempotency key and ${grown('log').toFixed(0)} BullMQ's log\n`,
  );
  assert.ok(record + indexes < KB, `${record + indexes} bytes`);
  // The server's own buffers move by some hundred KB, which is nothing to 5,000 runs.
  if (FULL) assert.ok(grown('used') - grown('idempotency') - grown('log') < KB);
};

const makeDue = async (ids: readonly string[]): Promise<void> => {
  const timers = redis.pipeline();
  for (const id of ids) timers.zadd(`${root}:timers`, 'XX', 1, id);
  await timers.exec();
};

/** One by one; some have gone with a filter before. */
const abortEach = async (ids: readonly string[]): Promise<void> => {
  const left = ids.values();
  const lane = async (): Promise<void> => {
    for (const id of left) {
      const { status } = await api.request(`/v1/runs/${id}/abort`, { method: 'POST' });
      assert.ok(status === 202 || status === 409, `${status}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
};

const abortBy = async (filter: object): Promise<number> => {
  const { status, json } = await api.request('/v1/runs/abort', { body: { filter } });
  assert.equal(status, 202);
  return Number(json['aborted']);
};

/** Scripts and connections of everybody are there before memory is measured. */
const warmUp = async (): Promise<void> => {
  const ids = await submitAll(
    Array.from({ length: 50 }, () => ({ agent: { model: 'mock/echo' }, input: 'x' })),
  );
  await settled(system, ids);
};

test(`${RUNS} parked runs: no slot, no lock, no job, and less than 1 KB each; woken or aborted, all end`, async () => {
  await warmUp();
  const before = await footprint();
  const delayedIds = await submitAll(bodies.delayed);
  const waitingIds = await submitAll(bodies.waiting);
  const shortIds = await submitAll(bodies.short);
  await asleep(RUNS);
  await assertNothingHeld();
  await assertSmall([...delayedIds, ...waitingIds, ...shortIds], before);

  const woken = delayedIds.slice(0, delayedIds.length / 2);
  await makeDue(woken);
  assert.equal(await abortBy({ session_id: 'session-2' }), 2, 'what no index here knows is still found');
  const stopped = [...delayedIds.slice(woken.length), ...waitingIds];
  await abortEach(stopped);
  const all = [...delayedIds, ...waitingIds, ...shortIds];
  const counts = await settled(system, all, 300_000);
  process.stdout.write(`they ended: ${JSON.stringify([...counts])}\n`);
  assert.deepEqual(
    Object.fromEntries(counts),
    { succeeded: woken.length + SHORT - 1, aborted: stopped.length + 1 },
    'the short ones but one by themselves',
  );
  assert.deepEqual(await violations(system), []);
  const short = await api.run(shortIds[0] ?? '');
  assert.deepEqual([short.status, short.output], ['succeeded', 'The wait is over.']);
  const aborted = await api.run(delayedIds.at(-1) ?? '');
  assert.equal(aborted.abort?.caught, 'before_start');
});

test('a run that hibernates is read, streamed and found by its idempotency key as if it did not', async () => {
  const body = waiting(0, HOUR);
  const headers = { 'idempotency-key': 'the-same' };
  const { id } = await api.submit(body, headers);
  const parked = await waitFor(
    async () => {
      const run = await api.run(id);
      return run.status === 'waiting' ? run : undefined;
    },
    { what: 'the run to park', timeoutMs: 60_000 },
  );
  const events = await api.events(id);
  const steps = await api.request(`/v1/runs/${id}/steps`);
  await until(
    'the run to hibernate',
    async () => (await redis.hexists(runKey(partition, id), 'asleep')) === 1,
  );
  assert.equal(await redis.exists(runKey(partition, id, 'events')), 0);

  assert.deepEqual(await api.run(id), parked);
  assert.deepEqual([parked.status, parked.waiting_for], ['waiting', 'timer']);
  assert.deepEqual(await api.events(id), events);
  assert.deepEqual((await api.request(`/v1/runs/${id}/events?after=${events.length}`)).json['data'], []);
  assert.deepEqual((await api.request(`/v1/runs/${id}/steps`)).json, steps.json);
  const again = await api.request('/v1/runs', { body, headers });
  assert.deepEqual([again.status, again.json['id']], [200, id]);

  const seen: string[] = [];
  const reading = (async () => {
    for await (const frame of frames(api, { runId: id })) seen.push(frame.event);
  })();
  await until('the stream to show what there is', () => seen.length === events.length);
  const stopped = await api.request(`/v1/runs/${id}/abort`, { method: 'POST', body: { reason: 'enough' } });
  assert.equal(stopped.status, 202);
  assert.equal((stopped.json['abort'] as { reason: string }).reason, 'enough');
  // The same answer, or its end, if that came first.
  const repeated = await api.request(`/v1/runs/${id}/abort`, { method: 'POST' });
  assert.ok([202, 409].includes(repeated.status), `repeated: ${repeated.status}`);
  const ended = await api.end(id, 20_000);
  assert.deepEqual(
    [ended.status, ended.abort?.caught, ended.abort?.reason],
    ['aborted', 'between_steps', 'enough'],
  );
  await reading;
  assert.deepEqual(seen.slice(-2), ['run.aborted', 'end']);
  assert.deepEqual(
    seen.slice(0, events.length),
    events.map(({ type }) => type),
  );
  await settled(system, [id]);
  assert.deepEqual(await violations(system), []);
});
