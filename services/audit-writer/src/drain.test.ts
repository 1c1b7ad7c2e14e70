import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditRecord, SignalboxError } from '@signalbox/contracts';
import { chainBreak } from '@signalbox/engine';
import { writeBatch } from '@signalbox/audit-store';
import { waitFor } from '@signalbox/local';
import { createAuditReader, runKey } from '@signalbox/run-state';
import { openRedis, submit } from '../../../packages/run-state/test/support.ts';
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
  waitFor(async () => ((await condition()) ? true : undefined), { what, timeoutMs: 20_000 });

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

test('a writer that dies after its commit leaves its batch to another one', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const runIds = await endedRuns(partition, 5);
  const died = Promise.withResolvers<void>();
  const revived = Promise.withResolvers<void>();
  const dead = await startDrain(bench, {
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
  const { stop } = await startDrain(bench, { reclaimIdleMs: 1 });
  await drained(partition);
  await stop();
  assert.deepEqual(await stored(db), before);
  for (const runId of runIds) assert.ok((await partition.redis.ttl(runKey(partition, runId))) > 0);
  revived.resolve();
  await dead.stop();
  assert.deepEqual(await stored(db), before, 'it was only slow, and settles what was settled');
});

test('runs are marked as stored before their entries are acknowledged, and a failure between is made good', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const runId = await endedRun(partition);
  let ttlBefore: Promise<number> | undefined;
  const redis = new Proxy(partition.redis, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name === 'multi' && ttlBefore === undefined) {
        ttlBefore = partition.redis.ttl(runKey(partition, runId));
        return () => {
          throw new Error('connection lost before XACK');
        };
      }
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
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

test('a tampered record is quarantined and its neighbours land', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  await endedRuns(partition, 3);
  const { submission } = await submit(partition);
  const tampered = submission.entry.replace('"tenant_id":"acme"', '"tenant_id":"evil"');
  assert.notEqual(tampered, submission.entry);
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

test('two writers at once, each taking over from the other, store everything once', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const both = await Promise.all(
    [1, 2].map(() =>
      startDrain(
        { ...bench, db: openPool(bench.databaseUrl) },
        { batchSize: 7, reclaimIdleMs: 1, sweepEveryMs: 5 },
      ),
    ),
  );
  for (let round = 0; round < 5; round += 1) await endedRuns(partition, 12);
  await drained(partition);
  await Promise.all(both.map(({ stop }) => stop()));
  const { events, runs } = await stored(db);
  assert.equal(events, 60 * EVENTS_PER_RUN);
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
