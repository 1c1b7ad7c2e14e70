import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { SignalboxError } from '@signalbox/contracts';
import { checkProgress, writeBatch } from '@signalbox/audit-store';
import type { RelayDeps } from './relay.ts';
import { openProxy } from '../test/proxy.ts';
import {
  drained,
  endedRun,
  endedRuns,
  EVENTS_PER_RUN,
  metricOf,
  openBench,
  openPool,
  startRelay,
  stored,
  streamLength,
} from '../test/support.ts';

test('with Postgres away it keeps one batch, reads no more, says so, and goes on when Postgres is back', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const proxy = await openProxy(bench.databaseUrl);
  await proxy.cut();
  const { relay, stop } = await startRelay({ ...bench, db: openPool(proxy.url) }, { batchSize: 3 });
  await endedRuns(partition, 4);
  await until('the relay to notice', () => {
    try {
      relay.assertWorking();
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
  relay.assertWorking();
  await stop();
  assert.equal((await stored(bench.db)).events, 8 * EVENTS_PER_RUN);
});

test('with nothing to store it says that Postgres is away, and works on', async () => {
  const bench = await openBench();
  const proxy = await openProxy(bench.databaseUrl);
  await proxy.cut();
  const away = openPool(proxy.url);
  const { log, stop } = await startRelay(bench, {
    sweepEveryMs: 1,
    deps: { check: (origin) => checkProgress(away, origin) },
  });
  await until('it to say so', () =>
    log.some(({ level, msg }) => level === 'warn' && /Postgres/.test(String(msg))),
  );
  await endedRun(bench.partition);
  await drained(bench.partition);
  await stop();
  assert.equal((await stored(bench.db)).events, EVENTS_PER_RUN);
});

test('stopping with Postgres away gives the batch up, and another writer finds it', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const proxy = await openProxy(bench.databaseUrl);
  await proxy.cut();
  await endedRun(partition);
  const tried = Promise.withResolvers<void>();
  const away = openPool(proxy.url);
  const { stop } = await startRelay(bench, {
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
  const next = await startRelay(bench, { consumer: 'same-name' });
  await drained(partition);
  await next.stop();
  assert.equal((await stored(bench.db)).events, EVENTS_PER_RUN);
});

test('a writer that cannot reach Postgres lets one that can take over', async () => {
  const bench = await openBench();
  const { partition } = bench;
  const proxy = await openProxy(bench.databaseUrl);
  await proxy.cut();
  const away = openPool(proxy.url);
  const cut = await startRelay({ ...bench, db: away }, { leaseMs: 300, giveWayMs: 100 });
  await until('it to lead', () => cut.leadership.isLeader());
  const healthy = await startRelay(bench, { leaseMs: 300 });
  await endedRuns(partition, 3);
  await drained(partition);
  assert.equal(await metricOf(healthy.metrics, 'audit_written_total'), 3 * EVENTS_PER_RUN);
  assert.ok(cut.log.some(({ msg }) => String(msg).startsWith('gives way')));
  await Promise.all([cut.stop(), healthy.stop()]);
  assert.equal((await stored(bench.db)).events, 3 * EVENTS_PER_RUN);
});

test('it beats while it is idle and while Postgres is away, but not while a write never answers', async () => {
  const bench = await openBench();
  let beats = 0;
  let store: RelayDeps['store'] = () => Promise.reject(new SignalboxError('audit_store_unavailable', 'away'));
  const hung = Promise.withResolvers<never>();
  const { relay } = await startRelay(bench, {
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
      relay.assertWorking();
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
