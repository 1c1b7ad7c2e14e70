import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createPool, type Db, ensurePartitions, migrate } from '@signalbox/audit-store';
import { createTestDatabase, testDatabaseUrlOf, until } from '@signalbox/local';
import { createMetrics, ManualClock } from '@signalbox/runtime';
import { atEnd, freshDatabase, recordingLogger, sampleOf, storeRunAt } from '../../test/support.ts';
import { createPartitionGauge } from '../metrics.ts';
import { keepPartitions } from './partitions.ts';

const MINUTE = 60_000;
const GAUGE = 'audit_default_partition_events';

const openDb = (databaseUrl: string): Db => {
  const db = createPool({ databaseUrl, role: 'scheduler' });
  atEnd(() => db.destroy());
  return db;
};

test('coming partitions are made, each hour anew; Postgres being away is logged and asked again soon', async () => {
  const name = `scheduler_${randomBytes(6).toString('hex')}`;
  const db = openDb(await testDatabaseUrlOf(name));
  const clock = new ManualClock(Date.UTC(2031, 0, 31, 23, 30));
  const { logger, log } = recordingLogger();
  const stopping = new AbortController();
  const defaultEvents = createPartitionGauge(createMetrics({ prefix: 'signalbox_' }));
  const running = keepPartitions({ db, clock, logger, defaultEvents, retentionDays: null }, stopping.signal);

  await clock.whenSleeping();
  assert.deepEqual(
    log.map(({ msg }) => msg),
    ['audit partitions could not be kept'],
  );
  await migrate(await createTestDatabase(name));
  await clock.advance(MINUTE);
  await clock.whenSleeping();
  await clock.advance(60 * MINUTE);
  await clock.whenSleeping();
  const made = log.filter(({ msg }) => msg === 'audit partitions made').map((entry) => entry['made']);
  assert.deepEqual(made, [3, 1], 'January to March 2031, and April an hour later, in February');
  stopping.abort();
  await running;
});

test('a month past retention is detached and named; events without a month are shown and warned of', async () => {
  const url = await freshDatabase();
  const db = openDb(url);
  await ensurePartitions(db, new Date('2024-03-15T00:00:00Z'));
  await storeRunAt(db, '2024-03-20T00:00:00Z');
  await storeRunAt(db, '2019-01-01T00:00:00Z');
  const registry = createMetrics({ prefix: 'signalbox_' });
  const { logger, log } = recordingLogger();
  const clock = new ManualClock();
  const stopping = new AbortController();
  const running = keepPartitions(
    { db, clock, logger, defaultEvents: createPartitionGauge(registry), retentionDays: 400 },
    stopping.signal,
  );
  await until('the first round', () => clock.sleeping > 0);
  const detached = log.filter(({ msg }) => String(msg).startsWith('audit partition detached'));
  assert.deepEqual(
    detached.map(({ table }) => table),
    ['audit_detached_2024_03', 'audit_detached_2024_04', 'audit_detached_2024_05'],
  );
  const warned = log.filter(({ level }) => level === 'warn');
  assert.deepEqual(
    warned.map(({ events }) => events),
    [2],
  );
  assert.equal(await sampleOf(registry, GAUGE), 2);
  stopping.abort();
  await running;
});
