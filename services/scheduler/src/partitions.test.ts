import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createPool, migrate } from '@signalbox/audit-store';
import { createDatabase, testDatabaseUrl } from '@signalbox/local';
import { ManualClock } from '@signalbox/runtime';
import { atEnd, recordingLogger } from '../test/support.ts';
import { keepPartitions } from './partitions.ts';

const MINUTE = 60_000;

test('coming partitions are made, each hour anew; Postgres being away is logged and asked again soon', async () => {
  const serverUrl = await testDatabaseUrl();
  const name = `scheduler_${randomBytes(6).toString('hex')}`;
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const db = createPool({ databaseUrl: url.href, role: 'scheduler' });
  atEnd(() => db.destroy());
  const clock = new ManualClock(Date.UTC(2031, 0, 31, 23, 30));
  const { logger, log } = recordingLogger();
  const stopping = new AbortController();
  const running = keepPartitions({ db, clock, logger }, stopping.signal);

  await clock.whenSleeping();
  assert.deepEqual(
    log.map(({ msg }) => msg),
    ['audit partitions could not be made'],
  );
  await migrate(await createDatabase(serverUrl, name));
  await clock.advance(MINUTE);
  await clock.whenSleeping();
  await clock.advance(60 * MINUTE);
  await clock.whenSleeping();
  const made = log.filter(({ msg }) => msg === 'audit partitions made').map((entry) => entry['made']);
  assert.deepEqual(made, [3, 1], 'January to March 2031, and April an hour later, in February');
  stopping.abort();
  await running;
});
