import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, test } from 'node:test';
import { type EventDraft, SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import { dumpRows } from '../../test/dump-rows.ts';
import {
  claimed,
  completed,
  journalOf,
  recordOf,
  requested,
  submitted,
  succeeded,
  TENANT,
} from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import { liftLegalHold, saveLegalHold } from './legal-hold.ts';
import { countDefaultEvents, detachPartitions, ensurePartitions } from './partitions.ts';
import type { Db } from '../db/pool.ts';
import { readRun } from '../runs/read-runs.ts';
import { changeRetention } from './retention.ts';
import { writeBatch } from '../write/write-batch.ts';

const KEEP_DAYS = 200;
const DAY = 86_400_000;
const JANUARY = Date.UTC(2024, 0, 15);

const runIdAt = (ms: number): string =>
  `run_${ms.toString(16).padStart(12, '0')}7${randomBytes(10).toString('hex').slice(1)}`;

/** Months from January 2024 on. */
const withMonths = async (): Promise<Db> => {
  const db = await migratedDatabase();
  await ensurePartitions(db, new Date(JANUARY));
  return db;
};

/** A run made in January 2024. */
const store = async (db: Db, drafts: readonly EventDraft[], startMs = JANUARY, tenantId = TENANT) => {
  const journal = journalOf(runIdAt(JANUARY), drafts, startMs);
  const record = recordOf(journal.runId, journal.entries, { tenantId });
  await writeBatch(db, [record]);
  return { ...journal, record };
};

const namesLike = async (db: Db, pattern: string): Promise<string[]> => {
  const { rows } = await sql<{ name: string }>`
    select relname as name from pg_class where relkind = 'r' and relname like ${pattern} order by 1`.execute(
    db,
  );
  return rows.map(({ name }) => name);
};

test('months past retention are detached, whole, and stay as tables that nobody changes', async () => {
  const db = await withMonths();
  const runId = runIdAt(JANUARY);
  const call = { runId, step: 1 };
  const old = journalOf(
    runId,
    [submitted(), claimed(), requested(call), completed(call), succeeded(1)],
    JANUARY,
  );
  const record = recordOf(runId, old.entries, { wrappedKey: 'wrapped' });
  await writeBatch(db, [record]);
  const current = await namesLike(db, 'audit\\_events\\_20%');
  const detached = ['audit_detached_2024_01', 'audit_detached_2024_02', 'audit_detached_2024_03'];
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), detached);
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), []);
  assert.deepEqual(await namesLike(db, 'audit\\_detached%'), detached);
  assert.deepEqual(
    await namesLike(db, 'audit\\_events\\_20%'),
    current.filter((name) => !name.includes('_2024_')),
  );

  const table = sql.table('audit_detached_2024_01');
  const { rows } = await sql<{
    hash: string;
    body: string;
  }>`select hash, body from ${table} order by seq`.execute(db);
  assert.deepEqual(
    rows.map(({ hash, body }) => hash + body),
    old.entries,
  );
  for (const statement of [
    sql`update ${table} set type = 'x'`,
    sql`delete from ${table}`,
    sql`truncate ${table}`,
  ]) {
    await assert.rejects(statement.execute(db), /append-only/);
  }
  assert.equal(
    await readRun(db, TENANT, runId),
    null,
    'a run without its events is not shown as an empty one',
  );

  const before = await dumpRows(db);
  const again = await writeBatch(db, [record]);
  assert.deepEqual([again.inserted, again.duplicates, again.quarantined.length], [0, 5, 0]);
  assert.equal(await dumpRows(db), before, 'a late redelivery counted what had left');
});

test('a month stays while a run of it goes on, while an event of it is young, and while it is young itself', async () => {
  const db = await withMonths();
  assert.deepEqual(await detachPartitions(db, Math.ceil((Date.now() - JANUARY) / DAY)), []);

  const open = await store(db, [submitted(), claimed()]);
  assert.ok(!(await detachPartitions(db, KEEP_DAYS)).includes('audit_detached_2024_01'));
  const ended = journalOf(open.runId, [submitted(), claimed(), succeeded(0)], JANUARY);
  await writeBatch(db, [recordOf(open.runId, ended.entries.slice(2))]);

  const gap = journalOf(runIdAt(JANUARY), [submitted(), claimed(), succeeded(0)], JANUARY);
  await writeBatch(db, [recordOf(gap.runId, [gap.entries[0] ?? '', gap.entries[2] ?? ''])]);
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), [], 'an event of an ended run is still to come');
  await writeBatch(db, [recordOf(gap.runId, gap.entries.slice(1, 2))]);

  const young = await store(db, [submitted(), succeeded(0)], Date.now() - 100 * DAY);
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), [], `an event of ${young.runId} is young`);
});

test('less than six months is refused by the database itself', async () => {
  const db = await withMonths();
  await assert.rejects(detachPartitions(db, 182), /at least 183 days/);
  assert.deepEqual(await namesLike(db, 'audit\\_detached%'), []);
});

test('only the scheduler detaches', async () => {
  const db = await withMonths();
  const as = (role: string) =>
    db.transaction().execute(async (tx) => {
      await sql`set local role ${sql.id(role)}`.execute(tx);
      const { rows } = await sql<{
        name: string;
      }>`select detach_audit_partition(${KEEP_DAYS}) as name`.execute(tx);
      return rows[0]?.name;
    });
  for (const role of ['signalbox_writer', 'signalbox_api'])
    await assert.rejects(as(role), /permission denied/);
  assert.equal(await as('signalbox_scheduler'), 'audit_detached_2024_01');
});

test('a journal that is being written is not waited for long, and nothing is changed', async () => {
  const db = await withMonths();
  const writing = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const writer = db.transaction().execute(async (tx) => {
    await sql`lock table audit_events in row exclusive mode`.execute(tx);
    writing.resolve();
    await done.promise;
  });
  await writing.promise;
  await assert.rejects(
    detachPartitions(db, KEEP_DAYS),
    (error) => error instanceof SignalboxError && error.code === 'audit_store_unavailable',
  );
  done.resolve();
  await writer;
  assert.equal((await detachPartitions(db, KEEP_DAYS)).length, 3);
});

test('events without a month are counted', async () => {
  const db = await migratedDatabase();
  assert.equal(await countDefaultEvents(db), 0);
  await store(db, [submitted(), succeeded(0)]);
  assert.equal(await countDefaultEvents(db), 2);
});

test('a month with a held run, or with one of a held tenant, stays until the hold is lifted', async () => {
  const db = await withMonths();
  const { runId } = await store(db, [submitted(), claimed(), succeeded(0)]);
  const others = ['audit_detached_2024_02', 'audit_detached_2024_03'];
  const hold = { reason: null, heldBy: 'key_1' };
  await saveLegalHold(db, { tenantId: TENANT, runId }, hold);
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), others);
  await saveLegalHold(db, { tenantId: TENANT, runId: null }, hold);
  await liftLegalHold(db, { tenantId: TENANT, runId });
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), []);
  await liftLegalHold(db, { tenantId: TENANT, runId: null });
  assert.deepEqual(await detachPartitions(db, KEEP_DAYS), ['audit_detached_2024_01']);
});

describe('a month is kept as long as the tenant in it that keeps its events longest', () => {
  const DRAFTS = [submitted(), claimed(), succeeded(0)];
  const AGE = Math.ceil((Date.now() - JANUARY) / DAY) + 31;
  const JANUARY_TABLE = 'audit_detached_2024_01';
  const keep = (db: Db, tenantId: string, event_days: number | null) =>
    changeRetention(db, { tenantId, by: 'key_1' }, async () => ({ content_days: null, event_days }));
  const detachesJanuary = async (db: Db, keepDays: number | null): Promise<boolean> =>
    (await detachPartitions(db, keepDays)).includes(JANUARY_TABLE);

  test('a longer period than that of the installation is respected, until it is over', async () => {
    const db = await withMonths();
    await store(db, DRAFTS);
    await store(db, DRAFTS, JANUARY, 'other');
    await keep(db, 'other', AGE);
    assert.equal(await detachesJanuary(db, KEEP_DAYS), false);
    await keep(db, 'other', KEEP_DAYS + 1);
    assert.equal(await detachesJanuary(db, KEEP_DAYS), true);
  });

  test('a tenant that has no runs in it does not keep it', async () => {
    const db = await withMonths();
    await store(db, DRAFTS);
    await keep(db, 'elsewhere', AGE);
    assert.equal(await detachesJanuary(db, KEEP_DAYS), true);
  });

  test('a shorter period than that of the installation counts, if it is that of all in it', async () => {
    const db = await withMonths();
    await store(db, DRAFTS);
    await store(db, DRAFTS, JANUARY, 'other');
    await keep(db, TENANT, 183);
    for (const keepDays of [AGE, null]) assert.equal(await detachesJanuary(db, keepDays), false);
    await keep(db, 'other', KEEP_DAYS);
    assert.equal(await detachesJanuary(db, null), true);
    assert.deepEqual(await detachPartitions(db, null), [], 'months without runs stay with the installation');
  });

  test('one who has gone back to the period of the installation keeps it as long as that', async () => {
    const db = await withMonths();
    await store(db, DRAFTS);
    await keep(db, TENANT, 183);
    await keep(db, TENANT, null);
    assert.equal(await detachesJanuary(db, null), false);
    assert.equal(await detachesJanuary(db, KEEP_DAYS), true);
  });

  test('legal hold wins', async () => {
    const db = await withMonths();
    const { runId } = await store(db, DRAFTS);
    await keep(db, TENANT, 183);
    await saveLegalHold(db, { tenantId: TENANT, runId }, { reason: null, heldBy: 'key_1' });
    assert.equal(await detachesJanuary(db, KEEP_DAYS), false);
    await liftLegalHold(db, { tenantId: TENANT, runId });
    assert.equal(await detachesJanuary(db, KEEP_DAYS), true);
  });
});
