import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditRecord, SignalboxError } from '@signalbox/contracts';
import { chainBreak } from '@signalbox/engine';
import { writeBatch } from '@signalbox/audit-store';
import { waitFor } from '@signalbox/local';
import { ManualClock } from '@signalbox/runtime';
import { createAuditReader, runKey } from '@signalbox/run-state';
import { openRedis, submit } from '../../../packages/run-state/test/support.ts';
import type { DrainDeps } from './drain.ts';
import { openProxy } from '../test/proxy.ts';
import {
  drained,
  endedRun,
  endedRuns,
  EVENTS_PER_RUN,
  metricOf,
  openBench,
  openPool,
  startDrain,
  stored,
  streamLength,
} from '../test/support.ts';

const until = (what: string, condition: () => Promise<boolean> | boolean): Promise<true> =>
  waitFor(async () => ((await condition()) ? true : undefined), { what, timeoutMs: 60_000 });

test('every event is in Postgres once, the stream is empty, and only ended runs expire', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const ended = await endedRuns(partition, 20);
  const { runId: queued } = await submit(partition);
  const { metrics, stop } = await startDrain(bench);
  await drained(partition);
  await stop();

  const { events, runs } = await stored(db);
  assert.equal(events, 20 * EVENTS_PER_RUN + 1);
  assert.equal(runs.length, 21);
  for (const runId of ended) {
    const rows = await db
      .selectFrom('audit_events')
      .select(['hash', 'body'])
      .where('run_id', '=', runId)
      .orderBy('seq')
      .execute();
    assert.equal(chainBreak(rows.map(({ hash, body }) => `${hash}${body ?? ''}`)), null);
    const ttl = await partition.redis.ttl(runKey(partition, runId, 'events'));
    assert.ok(ttl > 3500 && ttl <= 3600, `${runId} expires in ${ttl} s`);
  }
  assert.equal(await partition.redis.ttl(runKey(partition, queued)), -1);
  assert.equal(await metricOf(metrics, 'audit_written_total'), events);
});

test('what arrives while it waits is stored as well', async () => {
  const bench = await openBench();
  const { stop } = await startDrain(bench);
  await endedRun(bench.partition);
  await drained(bench.partition);
  await endedRun(bench.partition);
  await drained(bench.partition);
  await stop();
  assert.equal((await stored(bench.db)).events, 2 * EVENTS_PER_RUN);
});

test('a batch that is committed but not acknowledged changes nothing when it comes again (R8)', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  await endedRuns(partition, 5);
  const deliveries: number[] = [];
  const { stop, metrics } = await startDrain(bench, {
    deps: {
      store: async (records) => {
        const result = await writeBatch(db, records);
        deliveries.push(records.length);
        if (deliveries.length === 1) {
          assert.ok((await streamLength(partition)) > 0, 'acknowledged before the commit was known');
          throw new SignalboxError('audit_store_unavailable', 'the reply to the commit was lost');
        }
        return result;
      },
    },
  });
  await drained(partition);
  await stop();
  assert.ok(deliveries.length >= 2);
  const { events, runs } = await stored(db);
  assert.equal(events, 5 * EVENTS_PER_RUN);
  assert.equal(runs.length, 5);
  assert.equal(
    await metricOf(metrics, 'audit_written_total'),
    0,
    'what was stored before is not counted again',
  );
});

test('of several one writes, the others stand by, and one of them follows when it stops', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const all = await Promise.all([1, 2, 3].map(() => startDrain(bench, { leaseMs: 300 })));
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
  for (const { drain, stop } of all) {
    drain.assertWorking();
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
  const dead = await startDrain(bench, {
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
  const { stop, metrics } = await startDrain(bench, { leaseMs: 300 });
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
  const { stop } = await startDrain(bench, {
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
  const zombie = await startDrain(bench, {
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
  const next = await startDrain(bench, {
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

test('a writer that cannot reach Postgres lets one that can take over', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const proxy = await openProxy(bench.databaseUrl);
  await proxy.cut();
  const away = openPool(proxy.url);
  const cut = await startDrain({ ...bench, db: away }, { leaseMs: 300, giveWayMs: 100 });
  await until('it to lead', () => cut.leadership.isLeader());
  const healthy = await startDrain(bench, { leaseMs: 300 });
  await endedRuns(partition, 3);
  await drained(partition);
  assert.equal(await metricOf(healthy.metrics, 'audit_written_total'), 3 * EVENTS_PER_RUN);
  assert.ok(cut.log.some(({ msg }) => String(msg).startsWith('gives way')));
  await Promise.all([cut.stop(), healthy.stop()]);
  assert.equal((await stored(bench.db)).events, 3 * EVENTS_PER_RUN);
});

test('runs are marked as stored before their entries are acknowledged, and a failure between is made good', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const runId = await endedRun(partition);
  let ttlBefore: Promise<number> | undefined;
  const redis = new Proxy(partition.redis, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        // Of all scripts only `acknowledge` names stream entries here.
        const acknowledges = name === 'evalsha' && /^\d+-\d+$/.test(String(args[4]));
        if (!acknowledges || ttlBefore !== undefined) return Reflect.apply(value, target, args);
        ttlBefore = partition.redis.ttl(runKey(partition, runId));
        return Promise.reject(new Error('connection lost before XACK'));
      };
    },
  });
  const { stop } = await startDrain(bench, { deps: { partition: { ...partition, redis } } });
  await drained(partition);
  await stop();
  assert.ok(((await ttlBefore) ?? -1) > 0, 'acknowledged first: if it dies now, the run never expires');
  assert.equal((await stored(db)).events, EVENTS_PER_RUN);
  assert.ok((await partition.redis.ttl(runKey(partition, runId))) > 0);
});

test('with Postgres away it keeps one batch, reads no more, says so, and goes on when Postgres is back', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const proxy = await openProxy(bench.databaseUrl);
  await proxy.cut();
  const { drain, stop } = await startDrain({ ...bench, db: openPool(proxy.url) }, { batchSize: 3 });
  await endedRuns(partition, 4);
  await until('the drain to notice', () => {
    try {
      drain.assertWorking();
      return false;
    } catch (error) {
      return error instanceof SignalboxError && error.code === 'audit_store_unavailable';
    }
  });
  await endedRuns(partition, 4);
  const [pending] = (await partition.redis.xpending(`${partition.root}:audit`, 'audit-writer')) as [number];
  assert.ok(pending >= 1 && pending <= 3, `${pending} entries were taken`);
  assert.equal(await streamLength(partition), 8 * EVENTS_PER_RUN);
  await proxy.mend();
  await drained(partition);
  drain.assertWorking();
  await stop();
  assert.equal((await stored(bench.db)).events, 8 * EVENTS_PER_RUN);
});

test('stopping with Postgres away gives the batch up, and another writer finds it', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const proxy = await openProxy(bench.databaseUrl);
  await proxy.cut();
  await endedRun(partition);
  const tried = Promise.withResolvers<void>();
  const away = openPool(proxy.url);
  const { stop } = await startDrain(bench, {
    consumer: 'same-name',
    deps: {
      store: (records) => {
        tried.resolve();
        return writeBatch(away, records);
      },
    },
  });
  await tried.promise;
  await stop();
  assert.equal(await streamLength(partition), EVENTS_PER_RUN);
  const next = await startDrain(bench, { consumer: 'same-name' });
  await drained(partition);
  await next.stop();
  assert.equal((await stored(bench.db)).events, EVENTS_PER_RUN);
});

test('it beats while it is idle and while Postgres is away, but not while a write never answers', async () => {
  const bench = await openBench();
  let beats = 0;
  let store: DrainDeps['store'] = () => Promise.reject(new SignalboxError('audit_store_unavailable', 'away'));
  const hung = Promise.withResolvers<never>();
  const { drain } = await startDrain(bench, {
    deps: {
      heart: {
        beat: () => {
          beats += 1;
        },
      },
      random: () => 0,
      store: (...batch) => store(...batch),
    },
  });
  const more = async (what: string): Promise<true> => {
    const before = beats;
    return until(`it to beat ${what}`, () => beats >= before + 2);
  };
  await more('while idle');
  await endedRun(bench.partition);
  await until('the store to be away', () => {
    try {
      drain.assertWorking();
      return false;
    } catch {
      return true;
    }
  });
  await more('while the store is away');
  const called = Promise.withResolvers<void>();
  store = () => {
    called.resolve();
    return hung.promise;
  };
  await called.promise;
  const silent = beats;
  // It would have begun many rounds by now.
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.equal(beats, silent);
  store = (records) => writeBatch(bench.db, records);
  hung.reject(new SignalboxError('audit_store_unavailable', 'timed out'));
  await drained(bench.partition);
});

test('a tampered record is quarantined and its neighbours land', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  await endedRuns(partition, 3);
  const { submission } = await submit(partition);
  const [entry = ''] = submission.entries;
  const tampered = entry.replace('"tenant_id":"acme"', '"tenant_id":"evil"');
  assert.notEqual(tampered, entry);
  const fields = ['r', submission.runId, 't', 'acme', 'u', '', 'a', 'support', 'o', submission.runId];
  await partition.redis.xadd(`${partition.root}:audit`, '*', ...fields, 'e', tampered);
  await endedRuns(partition, 3);
  const { metrics, log, stop } = await startDrain(bench);
  await drained(partition);
  await stop();
  const { events, quarantined } = await stored(db);
  assert.equal(events, 6 * EVENTS_PER_RUN + 1);
  assert.equal(quarantined, 1);
  assert.equal(await metricOf(metrics, 'audit_quarantined_total'), 1);
  const errors = log.filter(({ level }) => level === 'error');
  assert.deepEqual(
    errors.map(({ run_id, reason }) => ({ run_id, reason })),
    [{ run_id: submission.runId, reason: 'not_authentic' }],
  );
});

test('two writers that both believe they lead store everything once', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const both = await Promise.all(
    [1, 2].map(() =>
      startDrain(
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

test('a flushed stream gets its group back', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const { stop } = await startDrain(bench);
  await endedRun(partition);
  await drained(partition);
  await partition.redis.del(`${partition.root}:audit`);
  await endedRun(partition);
  await drained(partition);
  await stop();
  assert.equal((await stored(bench.db)).events, 2 * EVENTS_PER_RUN);
});

test('entries whose delivery was lost on the way are found again when it is idle', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const reader = createAuditReader(partition, await openRedis('stream'), 'mine');
  let lost: AuditRecord[] = [];
  const { stop } = await startDrain(bench, {
    deps: {
      reader: {
        ...reader,
        read: async (count, blockMs) => {
          const records = await reader.read(count, blockMs);
          if (lost.length > 0 || records.length === 0) return records;
          lost = records;
          return [];
        },
      },
    },
  });
  await endedRun(partition);
  await drained(partition);
  await stop();
  assert.ok(lost.length > 0);
  assert.equal((await stored(bench.db)).events, EVENTS_PER_RUN);
});

test('large entries are read a few at a time: replies take memory of Redis', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const reader = createAuditReader(partition, await openRedis('stream'), 'mine');
  const asked: number[] = [];
  await endedRuns(partition, 5);
  const { stop } = await startDrain(bench, {
    batchSize: 3,
    readLength: 1,
    deps: {
      reader: {
        ...reader,
        read: (count, blockMs) => {
          asked.push(count);
          return reader.read(count, blockMs);
        },
      },
    },
  });
  await drained(partition);
  await stop();
  assert.deepEqual(asked.slice(0, 3), [3, 1, 1]);
  assert.equal((await stored(bench.db)).events, 5 * EVENTS_PER_RUN);
});

test('entries that count as delivered and are with nobody are stored: Redis lost the end of its file', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  await endedRuns(partition, 3);
  const { redis, root } = partition;
  // As an append-only file leaves it that was cut off between the deliveries of one read.
  await redis.xgroup('CREATE', `${root}:audit`, 'audit-writer', '$');
  const { stop } = await startDrain(bench);
  await drained(partition);
  await stop();
  assert.equal((await stored(db)).events, 3 * EVENTS_PER_RUN);
});
