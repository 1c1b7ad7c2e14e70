/** SIGTERM in the middle of work: runs are handed over at their next step, no call is lost, every process exits 0. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { until } from '@signalbox/local';
import { busyWorker, metric } from './failing-workers.ts';
import { providerRequests, settled, startSystem, taggedAgent, violations } from './stack.ts';

const RUNS = 24;
const system = await startSystem();
after(() => system.stop());

/** Four model calls of half a second each. */
const SCRIPT = JSON.stringify({
  turns: [
    ...Array.from({ length: 3 }, (_, n) => ({
      delay_ms: 500,
      tool_calls: [{ name: 'calculator', arguments: { expression: `${n} + 1` } }],
    })),
    { delay_ms: 500, text: 'done' },
  ],
});

test('a worker that is told to stop hands its runs over; they end elsewhere, each call made once', async () => {
  const runOfTag = new Map<string, string>();
  await Promise.all(
    Array.from({ length: RUNS }, async (_, n) => {
      const run = await system.api.submit({ agent: taggedAgent(`g${n}`), input: SCRIPT, user_id: 'u1' });
      runOfTag.set(`g${n}`, run.id);
    }),
  );
  await until('every run to be in its first call', () => system.provider.ledger.length >= RUNS);
  const { busy } = await busyWorker(system, RUNS / 4);
  const held = await metric(busy, 'runs_active');
  const exit = await busy.stop({ graceMs: 60_000 });
  assert.deepEqual(exit, { code: 0, signal: null });

  const ids = [...runOfTag.values()];
  assert.deepEqual([...(await settled(system, ids))], [['succeeded', RUNS]]);
  const journals = await Promise.all(ids.map((id) => system.api.events(id)));
  const handedOver = journals.filter((events) => events.some(({ type }) => type === 'run.handed_over'));
  assert.ok(
    handedOver.length >= 1 && handedOver.length <= held,
    `${handedOver.length} of ${held} handed over`,
  );
  for (const events of handedOver) {
    const at = events.findIndex(({ type }) => type === 'run.handed_over');
    const [gone, come] = [events[at]?.ts, events[at + 1]?.ts].map((ts) => Date.parse(ts ?? ''));
    assert.equal(events[at + 1]?.type, 'run.claimed');
    assert.ok((come ?? Infinity) - (gone ?? 0) < 3000, 'a run that is handed over does not wait for a lease');
  }
  assert.deepEqual(await violations(system, providerRequests(system.provider, runOfTag)), []);
});

test('every service exits 0 on SIGTERM', async () => {
  const { api, scheduler, auditWriter, workers } = system.stack;
  const running = [api, ...workers.filter((worker) => worker.exit() === undefined), scheduler, auditWriter];
  assert.equal(running.length, 4);
  for (const service of running) {
    assert.deepEqual(await service.stop({ graceMs: 60_000 }), { code: 0, signal: null }, service.name);
  }
});
