/** Must show 7: a client that is cut anywhere and comes back with Last-Event-ID sees every event once, in order. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { allFrames, type Frame, frames } from './sse-reader.ts';
import { FULL, settled, startSystem, taggedAgent } from './stack.ts';

const RUNS = FULL ? 400 : 60;
const SEED = Number(process.env['SEED'] ?? 7);

const system = await startSystem({ workers: 1 });
after(() => system.stop());

/** mulberry32: small, seeded, good enough to choose places to cut at. */
const randomFrom = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
};

/** Two model calls that stream for a while, with two tool calls at once between them. */
const SCRIPT = JSON.stringify({
  turns: [
    {
      text: 'Let me see, this needs two sums and some words to stream.',
      chunk_delay_ms: 15,
      tool_calls: [
        { name: 'calculator', arguments: { expression: '6 * 7' } },
        { name: 'calculator', arguments: { expression: '7 * 6' } },
      ],
    },
    { text: 'Thus {{tool_results}}, with ünïcödé 🚂 in the stream, as it should be.', chunk_delay_ms: 15 },
  ],
});

interface Seen {
  readonly events: Frame[];
  readonly ends: Frame[];
  readonly deltas: Frame[];
  cuts: number;
}

/** Reads until `end`, cut again and again, each time coming back behind the last whole event. */
const readWithCuts = async (runId: string, random: () => number): Promise<Seen> => {
  const seen: Seen = { events: [], ends: [], deltas: [], cuts: 0 };
  while (seen.ends.length === 0) {
    const lastEventId = seen.events.at(-1)?.id ?? undefined;
    // Between two bytes of the first heartbeat and some events further on.
    const cutAfter = 1 + Math.floor(random() ** 2 * 4000);
    for await (const frame of frames(system.api, { runId, lastEventId, cutAfter })) {
      if (frame.event === 'delta') seen.deltas.push(frame);
      else if (frame.event === 'end') seen.ends.push(frame);
      else seen.events.push(frame);
    }
    seen.cuts += 1;
  }
  return seen;
};

test(`${RUNS} streams cut at random (seed ${SEED}): every event once, in order, then the end`, async () => {
  const random = randomFrom(SEED);
  const results = await Promise.all(
    Array.from({ length: RUNS }, async (_, n) => {
      const model = n % 2 === 0 ? 'mock/script' : 'openai/gpt-4o-mini';
      const run = await system.api.submit({
        agent: taggedAgent(`s${n}`, { model }),
        input: SCRIPT,
        user_id: 'u1',
      });
      return { id: run.id, seen: await readWithCuts(run.id, random) };
    }),
  );
  let [cuts, events] = [0, 0];
  for (const { id, seen } of results) {
    const journal = await system.api.events(id);
    assert.deepEqual(
      seen.events.map((frame) => JSON.parse(frame.data) as unknown),
      journal,
    );
    assert.deepEqual(
      seen.events.map((frame) => [frame.id, frame.event]),
      journal.map(({ seq, type }) => [String(seq), type]),
    );
    assert.deepEqual(
      seen.ends.map(({ id: frameId, data }) => [frameId, JSON.parse(data)]),
      [[null, { run_id: id, status: 'succeeded' }]],
    );
    cuts += seen.cuts - 1;
    events += seen.events.length;
  }
  assert.ok(cuts > RUNS, `only ${cuts} cuts`);
  process.stdout.write(`${RUNS} streams, ${events} events, ${cuts} cuts\n`);
});

test('a run that has ended is streamed to its end at once; behind its last event there is only the end', async () => {
  const run = await system.api.submit({ agent: { model: 'mock/echo' }, input: 'hi' });
  await settled(system, [run.id]);
  const all = await allFrames(system.api, { runId: run.id });
  assert.equal(all.at(-1)?.event, 'end');
  const lastEventId = all.at(-2)?.id ?? '';
  const rest = await allFrames(system.api, { runId: run.id, lastEventId });
  assert.deepEqual(
    rest.map(({ event }) => event),
    ['end'],
  );
});

test('text arrives while it is generated, before the event that records it', async () => {
  const words = Array.from({ length: 40 }, (_, n) => `word${n}`).join(' ');
  const script = JSON.stringify({ turns: [{ text: words, delay_ms: 700, chunk_delay_ms: 40 }] });
  for (const model of ['mock/script', 'anthropic/claude-haiku-4-5', 'openai/gpt-4o-mini']) {
    const run = await system.api.submit({ agent: { model }, input: script });
    const seen = await allFrames(system.api, { runId: run.id });
    const names = seen.map(({ event }) => event);
    const deltas = seen.filter(({ event }) => event === 'delta');
    assert.ok(deltas.length >= 5, `${model}: ${deltas.length} deltas`);
    assert.ok(names.lastIndexOf('delta') < names.indexOf('llm.completed'), `${model}: ${names.join(' ')}`);
    const text = deltas.map(({ data }) => (JSON.parse(data) as { text: string }).text).join('');
    // Nobody may have listened at its very beginning.
    assert.ok(words.endsWith(text), `${model}: ${text}`);
    assert.ok(deltas.every(({ id }) => id === null));
  }
});

test('a malformed Last-Event-ID is refused', async () => {
  const run = await system.api.submit({ agent: { model: 'mock/echo' }, input: 'hi' });
  for (const id of ['abc', '-1', '1.5', '1e3', '0x1', '99999999999999999999', `1,2`]) {
    const answer = await system.api.request(`/v1/runs/${run.id}/events`, {
      headers: { accept: 'text/event-stream', 'last-event-id': id },
    });
    assert.deepEqual([answer.status, answer.json['code']], [422, 'invalid_request'], id);
  }
});
