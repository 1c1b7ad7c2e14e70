import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { type AuditRecord, SignalboxError } from '@signalbox/contracts';
import { chainBreak } from '@signalbox/engine';
import { raiseIncarnation, RolledBackError, writeBatch } from '@signalbox/audit-store';
import { createAuditReader, readTrust, runKey } from '@signalbox/run-state';
import { openRedis, submit } from '../../../packages/run-state/test/support.ts';
import {
  drained,
  endedRun,
  endedRuns,
  EVENTS_PER_RUN,
  metricOf,
  openBench,
  startRelay,
  stored,
  streamLength,
} from '../test/support.ts';

test('every event is in Postgres once, the stream is empty, and only ended runs expire', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  const ended = await endedRuns(partition, 20);
  const { runId: queued } = await submit(partition);
  const { metrics, stop } = await startRelay(bench);
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
  const { stop } = await startRelay(bench);
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
  const { stop, metrics } = await startRelay(bench, {
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
        const acknowledges = name === 'evalsha' && /^\d+-\d+$/.test(String(args[5]));
        if (!acknowledges || ttlBefore !== undefined) return Reflect.apply(value, target, args);
        ttlBefore = partition.redis.ttl(runKey(partition, runId));
        return Promise.reject(new Error('connection lost before XACK'));
      };
    },
  });
  const { stop } = await startRelay(bench, { deps: { partition: { ...partition, redis } } });
  await drained(partition);
  await stop();
  assert.ok(((await ttlBefore) ?? -1) > 0, 'acknowledged first: if it dies now, the run never expires');
  assert.equal((await stored(db)).events, EVENTS_PER_RUN);
  assert.ok((await partition.redis.ttl(runKey(partition, runId))) > 0);
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
  const { metrics, log, stop } = await startRelay(bench);
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

test('a flushed stream gets its group back', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const { stop } = await startRelay(bench);
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
  const { stop } = await startRelay(bench, {
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
  const { stop } = await startRelay(bench, {
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
  const { stop } = await startRelay(bench);
  await drained(partition);
  await stop();
  assert.equal((await stored(db)).events, 3 * EVENTS_PER_RUN);
});

test('a Postgres that lost batches gets none: trust in run state is withdrawn, and nothing is acknowledged', async () => {
  const bench = await openBench();
  const { partition } = bench;
  await endedRun(partition);
  const { stop, log } = await startRelay(bench, {
    deps: {
      store: (_, { batches }) =>
        Promise.reject(new RolledBackError('state_untrusted', `it had ${batches} batches and has less`)),
    },
  });
  await until('trust to be withdrawn', async () => (await readTrust(partition)) === null);
  await stop();
  assert.equal(await streamLength(partition), EVENTS_PER_RUN);
  assert.ok(log.some(({ msg }) => msg === 'the audit stream cannot be used'));
});

test('a Postgres that was verified against another Redis takes nothing, and the log says what to do', async () => {
  const bench = await openBench();
  const { partition, db } = bench;
  await endedRun(partition);
  const here = await readTrust(partition);
  await raiseIncarnation(db, partition.index, here?.incarnation);
  const { stop, log, relay } = await startRelay(bench, {
    deps: { store: (records, origin) => writeBatch(db, records, origin) },
  });
  const told = (): string[] =>
    log.filter(({ level }) => level === 'error').map((line) => JSON.stringify(line['error']));
  await until('it to be told', () => told().some((line) => line.includes(`HDEL ${partition.root}:trust`)));
  assert.throws(() => relay.assertWorking(), /another Redis/);
  assert.equal(await streamLength(partition), EVENTS_PER_RUN);

  // As the scheduler does when it finds the field gone.
  await partition.redis.hset(`${partition.root}:trust`, 'incarnation', (here?.incarnation ?? 0) + 1);
  await drained(partition);
  await stop();
});

test('with nothing to store, too, a Postgres that lost batches is noticed; one that is away is not', async () => {
  const bench = await openBench();
  const asked: number[] = [];
  const { stop } = await startRelay(bench, {
    sweepEveryMs: 20,
    deps: {
      check: ({ batches }) => {
        asked.push(batches);
        return Promise.reject(
          asked.length < 3
            ? new SignalboxError('audit_store_unavailable', 'away')
            : new RolledBackError('state_untrusted', 'older'),
        );
      },
    },
  });
  await until('trust to be withdrawn', async () => (await readTrust(bench.partition)) === null);
  await stop();
  assert.deepEqual(asked, [0, 0, 0]);
});
