/** Months that leave while there are many runs in them, or while somebody puts one of them under legal hold. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { sql } from 'kysely';
import { claimed, journalOf, recordOf, submitted, succeeded, TENANT } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import { saveLegalHold } from './legal-hold.ts';
import { detachPartitions, ensurePartitions } from './partitions.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from '../write/write-batch.ts';

const KEEP_DAYS = 200;
const DAY = 86_400_000;
const JANUARY = Date.UTC(2024, 0, 15);
const ENDED = [submitted(), claimed(), succeeded(0)];
const MOST = 3;

const runIdAt = (ms: number): string =>
  `run_${ms.toString(16).padStart(12, '0')}7${randomBytes(10).toString('hex').slice(1)}`;

/** Months from January 2024 on, with so many runs in the first. */
const withRuns = async (count: number): Promise<{ db: Db; runIds: string[] }> => {
  const db = await migratedDatabase();
  await ensurePartitions(db, new Date(JANUARY));
  const runIds = Array.from({ length: count }, () => runIdAt(JANUARY));
  await writeBatch(
    db,
    runIds.map((runId) => recordOf(runId, journalOf(runId, ENDED, JANUARY).entries)),
  );
  return { db, runIds };
};

describe('a month with more runs than one look takes', () => {
  test('leaves after several, each of so many runs and no more', async () => {
    const { db } = await withRuns(7);
    const { rows } = await sql<{ name: string | null }>`
      select detach_audit_partition(${KEEP_DAYS}, ${MOST}) as name`.execute(db);
    assert.deepEqual(rows, [{ name: '' }]);
    const names = await detachPartitions(db, KEEP_DAYS, { mostLookedAt: MOST });
    assert.equal(names[0], 'audit_detached_2024_01');
    assert.equal(names.length, 3);
  });

  test('stays for one with an event to come, without a new look at those before it, and leaves with it', async () => {
    const { db } = await withRuns(7);
    const open = journalOf(runIdAt(JANUARY + DAY), ENDED, JANUARY);
    await writeBatch(db, [recordOf(open.runId, [open.entries[0] ?? '', open.entries[2] ?? ''])]);
    const others = ['audit_detached_2024_02', 'audit_detached_2024_03'];
    assert.deepEqual(await detachPartitions(db, KEEP_DAYS, { mostLookedAt: MOST }), others);
    const { rows } = await sql<{ whole_to: string }>`select whole_to from audit_months`.execute(db);
    assert.deepEqual(rows, [{ whole_to: open.runId }]);
    await writeBatch(db, [recordOf(open.runId, open.entries.slice(1, 2))]);
    assert.deepEqual(await detachPartitions(db, KEEP_DAYS, { mostLookedAt: MOST }), [
      'audit_detached_2024_01',
    ]);
    assert.deepEqual((await sql`select from audit_months`.execute(db)).rows, []);
  });
});

test('a hold that is being saved is waited for, and seen', async () => {
  const { db, runIds } = await withRuns(1);
  const [runId = ''] = runIds;
  const saved = Promise.withResolvers<void>();
  const detaching = Promise.withResolvers<void>();
  // Its transaction has done all of its work but the commit.
  const slow = new Proxy(db, {
    get: (target, name) =>
      name === 'transaction'
        ? () => ({
            execute: (work: (tx: Db) => Promise<unknown>) =>
              target.transaction().execute(async (tx) => {
                const result = await work(tx);
                saved.resolve();
                await detaching.promise;
                return result;
              }),
          })
        : (Reflect.get(target, name, target) as unknown),
  });
  const hold = saveLegalHold(slow, { tenantId: TENANT, runId }, { reason: null, heldBy: 'key_1' });
  await saved.promise;
  const detached = detachPartitions(db, KEEP_DAYS);
  await Promise.race([
    detached,
    until('the lock', async () => {
      // Other tests wait for locks of databases of their own.
      const { rows } = await sql`
          select from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())`.execute(db);
      return rows.length > 0;
    }),
  ]);
  detaching.resolve();
  await hold;
  assert.deepEqual(await detached, []);
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), [
    'audit_detached_2024_02',
    'audit_detached_2024_03',
  ]);
});
