import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { writeBatch } from '@signalbox/audit-store';
import { ManualClock } from '@signalbox/runtime';
import { createAuditReader, runKey } from '@signalbox/run-state';
import { openRedis } from '../../../packages/run-state/test/support.ts';
import {
  drained,
  endedRuns,
  EVENTS_PER_RUN,
  metricOf,
  openBench,
  openPool,
  startRelay,
  stored,
  streamLength,
} from '../test/support.ts';

test('of several one writes, the others stand by, and one of them follows when it stops', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const all = await Promise.all([1, 2, 3].map(() => startRelay(bench, { leaseMs: 300 })));
  await endedRuns(partition, 10);
  await drained(partition);
  const written = await Promise.all(all.map(({ metrics }) => metricOf(metrics, 'audit_written_total')));
  assert.deepEqual(
    written.toSorted((a, b) => a - b),
    [0, 0, 10 * EVENTS_PER_RUN],
  );
  const leader = all.find((one) => one.leadership.isLeader());
  assert.ok(leader !== undefined);
  await leader.stop();
  await endedRuns(partition, 10);
  await drained(partition);
  for (const { relay, stop } of all) {
    relay.assertWorking();
    await stop();
  }
  assert.equal((await stored(db)).events, 20 * EVENTS_PER_RUN);
});

test('a writer that dies after its commit leaves its batch to another one', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const runIds = await endedRuns(partition, 5);
  const died = Promise.withResolvers<void>();
  const revived = Promise.withResolvers<void>();
  const dead = await startRelay(bench, {
    leaseMs: 300,
    leadClock: new ManualClock(),
    deps: {
      store: async (records) => {
        const result = await writeBatch(db, records);
        died.resolve();
        await revived.promise;
        return result;
      },
    },
  });
  await died.promise;
  const before = await stored(db);
  assert.equal(await streamLength(partition), 5 * EVENTS_PER_RUN);
  const { stop, metrics } = await startRelay(bench, { leaseMs: 300 });
  await drained(partition);
  await stop();
  assert.deepEqual(await stored(db), before);
  assert.equal(await metricOf(metrics, 'audit_reclaimed_total'), 5 * EVENTS_PER_RUN);
  for (const runId of runIds) assert.ok((await partition.redis.ttl(runKey(partition, runId))) > 0);
  revived.resolve();
  await dead.stop();
  assert.deepEqual(await stored(db), before, 'it was only slow, and settles what was settled');
});

test('a writer that was frozen past its lease goes on at once when nobody took over', async () => {
  const bench = await openBench();
  const { partition } = bench;
  await endedRuns(partition, 3);
  const leadClock = new ManualClock();
  const reader = createAuditReader(partition, await openRedis('stream'), 'mine');
  // Giving way would take longer than this test waits.
  const leaseMs = 60_000;
  let frozen = false;
  const { stop } = await startRelay(bench, {
    leaseMs,
    leadClock,
    consumer: 'mine',
    deps: {
      reader: {
        ...reader,
        read: async (count, blockMs) => {
          const records = await reader.read(count, blockMs);
          if (!frozen && records.length > 0) await leadClock.advance(leaseMs);
          frozen ||= records.length > 0;
          return records;
        },
      },
    },
  });
  await drained(partition);
  await stop();
  assert.ok(frozen);
  assert.equal((await stored(bench.db)).events, 3 * EVENTS_PER_RUN);
});

test('what a frozen writer left comes first, in stream order; thawed, it neither undoes nor doubles', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  await endedRuns(partition, 3);
  const frozen = Promise.withResolvers<void>();
  const thawed = Promise.withResolvers<void>();
  const zombie = await startRelay(bench, {
    leaseMs: 300,
    leadClock: new ManualClock(),
    batchSize: 5,
    deps: {
      store: async (records) => {
        frozen.resolve();
        await thawed.promise;
        return writeBatch(db, records);
      },
    },
  });
  await frozen.promise;
  await endedRuns(partition, 3);
  const order: string[] = [];
  const next = await startRelay(bench, {
    leaseMs: 300,
    batchSize: 3,
    deps: {
      store: (records) => {
        order.push(...records.map(({ streamId }) => streamId));
        // In the middle of what its successor does.
        if (order.length >= 5) thawed.resolve();
        return writeBatch(db, records);
      },
    },
  });
  await drained(partition);
  await Promise.all([next.stop(), zombie.stop()]);
  const byId = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });
  assert.deepEqual(order, order.toSorted(byId));
  const { events, runs, quarantined } = await stored(db);
  assert.deepEqual([events, runs.length, quarantined], [6 * EVENTS_PER_RUN, 6, 0]);
  const pending = await partition.redis.xpending(`${partition.root}:audit`, 'audit-writer');
  assert.equal(pending[0], 0);
});

test('two writers that both believe they lead store everything once', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const both = await Promise.all(
    [1, 2].map(() =>
      startRelay(
        { ...bench, db: openPool(bench.databaseUrl) },
        { batchSize: 7, sweepEveryMs: 5, leaseMs: 30, leadClock: new ManualClock() },
      ),
    ),
  );
  await until('both to believe it', () => both.every(({ leadership }) => leadership.isLeader()));
  for (let round = 0; round < 5; round += 1) await endedRuns(partition, 12);
  await drained(partition);
  await Promise.all(both.map(({ stop }) => stop()));
  const { events, runs, quarantined } = await stored(db);
  assert.equal(events, 60 * EVENTS_PER_RUN);
  assert.equal(quarantined, 0);
  assert.deepEqual(
    new Set(runs.map((run) => (run as { last_seq: number }).last_seq)),
    new Set([EVENTS_PER_RUN]),
    'a run is stored with a gap',
  );
});
