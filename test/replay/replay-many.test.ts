/**
 * Many recorded runs through today's engine: real runs of a real worker, stored in Postgres as the audit-writer stores
 * them. All replay identical without a model, a tool or Redis (R12). 10,000 at full size, 300 in `npm test`.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { createPool, type Db, migrate, readRuns, writeBatch } from '@signalbox/audit-store';
import type { ModelPort, StoredRun } from '@signalbox/contracts';
import { readEntry, replayEvents } from '@signalbox/engine';
import { createTestDatabase, testRedisUrl } from '@signalbox/local';
import { createModels } from '@signalbox/providers';
import { acknowledge, connect, createAuditReader, disconnect, ensureGroup } from '@signalbox/run-state';
import { openRecording, replayStored } from '../../services/api/src/replays/replay-stored.ts';
import {
  openWorld,
  script,
  type SubmitOptions,
  TENANT,
  type World,
} from '../../services/worker/test/harness.ts';
import { LeapClock } from '../../services/worker/test/leap-clock.ts';
import { builtInTools, type Toolbox } from '../../services/worker/src/tools/index.ts';
import { FULL } from '../e2e/stack.ts';

const RUNS = FULL ? 10_000 : 300;
const AT_ONCE = 50;
const PAGE = 500;

/** What providers and tools were asked for. */
const calls = { models: 0, tools: 0 };

const counted = (models: ModelPort): ModelPort => ({
  load: (model) => models.load(model),
  call: async (request, options) => {
    calls.models += 1;
    return models.call(request, options);
  },
});

const countedTools = (toolbox: Toolbox): Toolbox => ({
  definitions: (names) => toolbox.definitions(names),
  plan: (call, options) => {
    const plan = toolbox.plan(call, options);
    return {
      ...plan,
      run: async (context) => {
        calls.tools += 1;
        return plan.run(context);
      },
    };
  },
});

const sum = (expression: string) => ({ name: 'calculator', arguments: { expression } });
const broken = (status: number) => ({
  error: { status, message: 'not now', retryable: status !== 400 },
});

/** The nth run: each mixes model calls, tools side by side, mistakes, failures, limits and inputs of its own. */
const bodyOf = (n: number): SubmitOptions => {
  const turns = Array.from({ length: n % 5 }, (_, i) => ({
    tool_calls: Array.from({ length: 1 + ((n + i) % 3) }, (_tool, j) =>
      (n + i + j) % 11 === 0 ? sum('no sum') : sum(n % 7 === 0 ? '1 + 1' : `${n} + ${i} * ${j}`),
    ),
  }));
  const last: Record<string, unknown>[] = [
    { text: `Run ${n}: {{tool_results}}.` },
    { text: '' },
    { text: 'cut', finish_reason: 'length' },
    broken(529),
    broken(400),
  ];
  const ending = last[n % 10] ?? { text: `Run ${n} ends.` };
  return {
    input: script(...turns, ending),
    spec: {
      model: 'mock/script',
      instructions: `You are run ${n}.`,
      tools: ['calculator' as const, 'current_time' as const],
      fallbacks: n % 3 === 0 ? ['mock/echo'] : [],
    },
    limits: n % 13 === 0 ? { max_steps: 4 } : {},
  };
};

const databaseOf = async (): Promise<Db> => {
  const url = await createTestDatabase(`replay_${randomUUID().replaceAll('-', '')}`);
  await migrate(url);
  const db = createPool({ databaseUrl: url, role: 'writer' });
  after(() => db.destroy());
  return db;
};

/** What the audit-writer does, until nothing is left. */
const store = async ({ partition }: World, db: Db): Promise<void> => {
  await ensureGroup(partition);
  const stream = connect(await testRedisUrl(), 'stream', { onError: () => undefined });
  const reader = createAuditReader(partition, stream, 'test');
  for (;;) {
    const records = await reader.read(1000, 10);
    if (records.length === 0) break;
    const { quarantined } = await writeBatch(db, records);
    assert.deepEqual(quarantined, []);
    const ids = records.map(({ streamId }) => streamId);
    await acknowledge(partition, ids);
  }
  await disconnect(stream);
};

const world = await openWorld();
const db = await databaseOf();
const clock = new LeapClock();
const worker = await world.worker({
  clock,
  models: counted(createModels({ clock, timeoutMs: 10_000 })),
  toolbox: countedTools(builtInTools({ allow: [] })),
});

const ids: string[] = [];
for (let n = 0; n < RUNS; n += AT_ONCE) {
  const bodies = Array.from({ length: Math.min(AT_ONCE, RUNS - n) }, (_, i) => bodyOf(n + i));
  ids.push(...(await Promise.all(bodies.map((body) => world.submit(body)))));
  await world.settle(worker);
  // Runs that a concurrency cap or a pause left behind.
  await world.repair();
  await world.settle(worker);
}
await store(world, db);
await worker.stop();

async function* stored(): AsyncIterable<StoredRun[]> {
  for (let at = 0; at < ids.length; at += PAGE) yield await readRuns(db, TENANT, ids.slice(at, at + PAGE));
}

test(`${RUNS} recorded runs replay identical, with no call of a model or a tool`, async () => {
  const recorded = { ...calls };
  assert.ok(recorded.models > RUNS && recorded.tools > RUNS / 2, JSON.stringify(recorded));
  const ends = new Map<string, number>();
  let [runs, steps, events, ms] = [0, 0, 0, 0];
  for await (const page of stored()) {
    const startedAt = process.cpuUsage();
    const replays = page.map((run) => replayStored(world.keyring, run));
    const { user, system } = process.cpuUsage(startedAt);
    ms += (user + system) / 1000;
    for (const [at, run] of page.entries()) {
      const replayed = replays[at] ?? assert.fail('not replayed');
      assert.deepEqual(replayed.divergences, [], run.runId);
      const end = readEntry(run.entries.at(-1) ?? '');
      const name = end.type === 'run.failed' ? end.data.code : end.type;
      ends.set(name, (ends.get(name) ?? 0) + 1);
      [runs, steps, events] = [runs + 1, steps + replayed.steps, events + run.entries.length];
    }
  }
  assert.equal(runs, RUNS);
  assert.deepEqual(calls, recorded);
  // All kinds of ends are among them, or the proof is about less than it says.
  for (const end of ['run.succeeded', 'invalid_output', 'provider_error', 'max_steps', 'loop_detected'])
    assert.ok((ends.get(end) ?? 0) > 0, `no run ended with ${end}: ${JSON.stringify([...ends])}`);
  const rate = Math.round(steps / (ms / 1000));
  process.stdout.write(
    `${runs} runs, ${steps} steps, ${events} events: ${rate} steps per second of processor time, ${JSON.stringify(Object.fromEntries(ends))}\n`,
  );
});

test('another prompt is told of at the first step of every run', async () => {
  for await (const page of stored())
    for (const run of page) {
      const events = run.entries.map(readEntry);
      const recording = openRecording(world.keyring, run, events);
      const storedSpec = { ...recording.spec, instructions: `${recording.spec.instructions} Be brief.` };
      const { identical, divergences } = replayEvents(events, { ...recording, spec: storedSpec, storedSpec });
      assert.equal(identical, false);
      assert.deepEqual([divergences[0]?.step, divergences[0]?.kind], [1, 'spec']);
      const said = replayEvents(events, { ...recording, input: 'something else' }).divergences;
      assert.deepEqual([said[0]?.step, said[0]?.kind], [1, 'request']);
    }
});
