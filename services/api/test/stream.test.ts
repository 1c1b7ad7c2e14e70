import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { waitFor, until } from '@signalbox/local';
import { type Clock, systemClock } from '@signalbox/runtime';
import { coolDown, storeAll } from './audit.ts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';
import { finish, own } from './run-writer.ts';
import { allFrames, type Frame, frames, ids } from './sse.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const open = async (id: string, options: CallOptions = {}, on: Harness = h): Promise<Response> => {
  const headers = { accept: 'text/event-stream', ...options.headers };
  const response = await on.call('GET', `/v1/runs/${id}/events`, { ...options, headers });
  assert.equal(response.status, 200);
  return response;
};

const resumed = (id: string, lastEventId: number): Promise<Response> =>
  open(id, { headers: { 'last-event-id': String(lastEventId) } });

const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, i) => first + i);

/** Reads until `enough`, then goes away. */
const readUntil = async (response: Response, enough: (frame: Frame) => boolean): Promise<Frame[]> => {
  const read: Frame[] = [];
  for await (const frame of frames(response)) {
    read.push(frame);
    if (enough(frame)) break;
  }
  return read;
};

const watched = async (id: string): Promise<boolean> => {
  const { redis, root } = h.deps.partition;
  const reply = (await redis.pubsub('NUMSUB', `${root}:tail:${id}`)) as [string, number];
  return reply[1] > 0;
};

test('a finished run is told whole, then ends', async () => {
  const { id } = await h.submit();
  await finish(h, id, 2);
  const response = await open(id);
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/);
  assert.equal(response.headers.get('cache-control'), 'no-store');
  assert.equal(response.headers.get('x-accel-buffering'), 'no');
  const all = await allFrames(response);
  assert.equal(all[0]?.retry, '2000');
  assert.deepEqual(ids(all), upTo(7));
  const events = all.filter((frame) => frame.id !== undefined);
  assert.equal(events[0]?.event, 'run.submitted');
  const data = JSON.parse(events[6]?.data ?? '') as { seq: number; type: string; run_id: string };
  assert.deepEqual([data.seq, data.type, data.run_id], [7, 'run.succeeded', id]);
  assert.deepEqual(all.at(-1), { event: 'end', data: JSON.stringify({ run_id: id, status: 'succeeded' }) });
});

test('events come as they are written, with the text between request and result', async () => {
  const { id } = await h.submit();
  const reading = open(id).then(allFrames);
  await until('the watcher', () => watched(id));
  const writer = await own(h, id);
  await writer.request(1);
  await writer.delta(1, 'Hel');
  await writer.delta(1, 'lo');
  await writer.complete(1, 'Hello', true);
  const all = (await reading).filter(({ event }) => event !== undefined);
  assert.deepEqual(
    all.map(({ event }) => event),
    [
      'run.submitted',
      'run.claimed',
      'llm.requested',
      'delta',
      'delta',
      'llm.completed',
      'run.succeeded',
      'end',
    ],
  );
  const deltas = all.filter(({ event }) => event === 'delta');
  assert.deepEqual(
    deltas.map(({ data, id: none }) => [JSON.parse(data ?? ''), none]),
    [
      [{ step: 1, text: 'Hel' }, undefined],
      [{ step: 1, text: 'lo' }, undefined],
    ],
  );
});

test('text is only for keys with content:read', async () => {
  const key = await h.key('default', ['runs:read']);
  const { id } = await h.submit();
  const reading = open(id, { key }).then(allFrames);
  await until('the watcher', () => watched(id));
  const writer = await own(h, id);
  await writer.request(1);
  await writer.delta(1, 'secret');
  await writer.complete(1, 'secret', true);
  const all = await reading;
  assert.ok(!JSON.stringify(all).includes('secret'));
  assert.deepEqual(ids(all), upTo(5));
});

test('the stream of a key that is revoked ends, and its client is refused when it comes back; others go on', async () => {
  // Its looks come a hundred times as often.
  const clock: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) };
  const fast = await openHarness({ clock });
  try {
    const { id } = await fast.submit();
    const made = await fast.call('POST', '/v1/keys', { json: { name: 'leaver', scopes: ['runs:read'] } });
    const { id: keyId, secret } = (await made.json()) as { id: string; secret: string };
    const leaving = open(id, { key: secret }, fast).then(allFrames);
    const staying = open(id, {}, fast).then(allFrames);
    assert.equal((await fast.call('DELETE', `/v1/keys/${keyId}`)).status, 200);
    const cut = await leaving;
    assert.ok(
      cut.every(({ event }) => event !== 'end'),
      'the run has not ended',
    );
    const again = await fast.call('GET', `/v1/runs/${id}/events`, { key: secret });
    assert.equal(again.status, 401);
    await finish(fast, id, 1);
    assert.equal((await staying).at(-1)?.event, 'end');
  } finally {
    await fast.close();
  }
});

test('a client that is cut at random and resumes sees every event once, in order', async () => {
  const { id } = await h.submit();
  const writing = finish(h, id, 40);
  const seen: number[] = [];
  let cuts = 0;
  let last: Frame | undefined;
  while (last?.event !== 'end') {
    let left = 1 + ((cuts * 7) % 5);
    const enough = ({ id: seq, event }: Frame): boolean => {
      if (seq !== undefined) left -= 1;
      return event === 'end' || left === 0;
    };
    const read = await readUntil(await resumed(id, seen.at(-1) ?? 0), enough);
    seen.push(...ids(read));
    last = read.at(-1);
    cuts += 1;
  }
  await writing;
  assert.deepEqual(seen, upTo(3 + 80));
  assert.ok(cuts > 10);
});

test('hints may all be lost: events still come, and the end', async () => {
  const deaf = await openHarness({
    tail: {
      watch: () => Promise.reject(new Error('deaf')),
      watchEnd: () => Promise.reject(new Error('deaf')),
      watchAborts: () => Promise.reject(new Error('deaf')),
    },
  });
  try {
    const { id } = await deaf.submit();
    const reading = open(id, {}, deaf).then(allFrames);
    await finish(deaf, id, 3);
    const all = await reading;
    assert.deepEqual(ids(all), upTo(9));
    assert.equal(all.at(-1)?.event, 'end');
  } finally {
    await deaf.close();
  }
});

test('it is a stream for those who accept one at least as gladly as JSON, however they spell it', async () => {
  const { id } = await h.submit();
  await finish(h, id);
  const typeFor = async (accept: string): Promise<string | undefined> => {
    const response = await h.call('GET', `/v1/runs/${id}/events`, { headers: { accept } });
    await response.text();
    return response.headers.get('content-type')?.split(';')[0];
  };
  for (const accept of [
    'text/event-stream',
    'TEXT/Event-Stream',
    'text/event-stream; charset=utf-8, */*;q=0.1',
    'application/json, text/event-stream',
  ]) {
    assert.equal(await typeFor(accept), 'text/event-stream', accept);
  }
  for (const accept of [
    '*/*',
    'text/event-stream;q=0, application/json',
    'text/event-stream;q=0.5, application/json',
    'application/x-text/event-stream',
  ]) {
    assert.equal(await typeFor(accept), 'application/json', accept);
  }
});

test('an empty Last-Event-ID names no event: the stream begins at the start', async () => {
  const { id } = await h.submit();
  await finish(h, id);
  const whole = await open(id);
  const again = await open(id, { headers: { 'last-event-id': '' } });
  assert.deepEqual(await again.text(), await whole.text());
});

test('Last-Event-ID counts before after; a seq behind the end is the end', async () => {
  const { id } = await h.submit();
  await finish(h, id);
  const headers = { accept: 'text/event-stream', 'last-event-id': '3' };
  const both = await h.call('GET', `/v1/runs/${id}/events?after=1`, { headers });
  assert.deepEqual(ids(await allFrames(both)), [4, 5]);
  const query = await h.call('GET', `/v1/runs/${id}/events?after=1`, {
    headers: { accept: 'text/event-stream' },
  });
  assert.deepEqual(ids(await allFrames(query)), [2, 3, 4, 5]);
  const beyond = await allFrames(await resumed(id, 100));
  assert.deepEqual([ids(beyond), beyond.at(-1)?.event], [[], 'end']);
});

test('a run that leaves Redis while it is streamed goes on from Postgres', async () => {
  const { id } = await h.submit();
  const response = await open(id);
  const reader = frames(response);
  const read: Frame[] = [];
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) {
    read.push(next.value);
    if (next.value.event !== 'run.submitted') continue;
    // The client is slow: meanwhile the run ends, is stored, and Redis forgets it.
    await finish(h, id);
    await storeAll(h);
    await coolDown(h, id);
  }
  assert.deepEqual(ids(read), upTo(5));
  assert.equal(read.at(-1)?.event, 'end');
});

test('a cold run is told from Postgres', async () => {
  const { id } = await h.submit();
  await finish(h, id);
  await storeAll(h);
  await coolDown(h, id);
  const all = await allFrames(await resumed(id, 2));
  assert.deepEqual(ids(all), [3, 4, 5]);
  assert.equal(all.at(-1)?.event, 'end');
});

test('a client that goes away frees its watcher', async () => {
  const { id } = await h.submit();
  const response = await open(id);
  await readUntil(response, ({ event }) => event === 'run.submitted');
  await waitFor(async () => ((await watched(id)) ? undefined : true), {
    what: 'the watcher to go',
    timeoutMs: 60_000,
  });
});

test('when the process stops, streams end and say when to come back', async () => {
  const stopping = await openHarness();
  try {
    const { id } = await stopping.submit();
    const reading = open(id, {}, stopping).then(allFrames);
    await until('the watcher', async () => {
      const { redis, root } = stopping.deps.partition;
      const reply = (await redis.pubsub('NUMSUB', `${root}:tail:${id}`)) as [string, number];
      return reply[1] > 0;
    });
    stopping.stop();
    const all = await reading;
    const retry = Number(all.at(-1)?.retry);
    assert.ok(retry >= 500 && retry <= 5000, `retry ${retry}`);
    assert.ok(!all.some(({ event }) => event === 'end'));
  } finally {
    await stopping.close();
  }
});
