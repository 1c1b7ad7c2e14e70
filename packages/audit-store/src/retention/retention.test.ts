import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { sql } from 'kysely';
import { claimed, journalOf, recordOf, simpleJournal, submitted } from '../../test/journal.ts';
import { pagesRead, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import { eraseRunContents } from './erasure.ts';
import { liftLegalHold, saveLegalHold } from './legal-hold.ts';
import type { Db } from '../db/pool.ts';
import { changeRetention, listKeptContents, listRetention, readRetention } from './retention.ts';
import { ensureTenant } from '../tenants/tenants.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const NONE = { content_days: null, event_days: null };
const HOLD = { reason: null, heldBy: 'key_1' };

/** A run of this tenant that has ended. */
const ended = async (tenantId: string): Promise<string> => {
  const { runId, entries } = simpleJournal();
  await writeBatch(db, [recordOf(runId, entries, { tenantId, wrappedKey: 'k1.wrapped' })]);
  return runId;
};
const kept = async (tenantId: string): Promise<string[]> =>
  (await listKeptContents(db, tenantId, 10)).map(({ runId }) => runId);
const set = (tenantId: string, content_days: number | null, event_days: number | null) =>
  changeRetention(db, { tenantId, by: 'key_1' }, async () => ({ content_days, event_days }));

test('periods are none until they are set, and each tenant has its own', async () => {
  assert.deepEqual(await readRetention(db, 'a'), NONE);
  assert.deepEqual(await set('a', 30, 200), { content_days: 30, event_days: 200 });
  assert.deepEqual(await readRetention(db, 'a'), { content_days: 30, event_days: 200 });
  assert.deepEqual(await readRetention(db, 'b'), NONE);
  await set('a', null, null);
  assert.deepEqual(await readRetention(db, 'a'), NONE);
});

test('of two changes at once the later one sees the earlier; what refuses changes nothing', async () => {
  const add = () =>
    changeRetention(db, { tenantId: 'race', by: 'key_1' }, async ({ content_days, event_days }) => ({
      content_days: (content_days ?? 0) + 1,
      event_days,
    }));
  await Promise.all([add(), add(), add()]);
  const refused = changeRetention(db, { tenantId: 'race', by: 'key_1' }, () =>
    Promise.reject(new Error('no trail, no deed')),
  );
  await assert.rejects(refused, /no trail/);
  assert.deepEqual(await readRetention(db, 'race'), { content_days: 3, event_days: null });
});

test('the database itself keeps the floor, the bounds, and contents no longer than events', async () => {
  for (const [content, events] of [
    [null, 182],
    [null, 3651],
    [-1, null],
    [3651, null],
    [184, 183],
  ] as const) {
    await assert.rejects(set('floor', content, events), /check constraint/);
  }
  assert.deepEqual(await readRetention(db, 'floor'), NONE);
  await set('floor', 183, 183);
});

test('contents that are kept are those of ended runs that are not erased and not held', async () => {
  const [first, second] = [await ended('c'), await ended('c')];
  const going = newId('run');
  const { entries } = journalOf(going, [submitted(), claimed()]);
  await writeBatch(db, [recordOf(going, entries, { tenantId: 'c' })]);
  const other = await ended('d');
  assert.deepEqual((await kept('c')).toSorted(), [first, second].toSorted());
  assert.deepEqual(await kept('d'), [other]);
  const [run] = await listKeptContents(db, 'd', 1);
  assert.deepEqual([run?.status, run?.finishedAt.toISOString()], ['succeeded', '2026-11-21T09:00:04.000Z']);

  await saveLegalHold(db, { tenantId: 'c', runId: first }, HOLD);
  assert.deepEqual(await kept('c'), [second]);
  await saveLegalHold(db, { tenantId: 'c', runId: null }, HOLD);
  assert.deepEqual(await kept('c'), []);
  for (const runId of [first, null]) await liftLegalHold(db, { tenantId: 'c', runId });
  await eraseRunContents(db, 'c', [first]);
  assert.deepEqual(await kept('c'), [second]);
});

test('a held tenant costs a look at its hold, however many runs it has', async () => {
  await sql`
    insert into runs (id, tenant_id, root_run_id, status, created_at, finished_at)
    select 'run_' || lpad(n::text, 32, '0'), 'h', '', 'succeeded', now(), now() from generate_series(1, 20000) n`.execute(
    db,
  );
  await settle(db, 'runs');
  await saveLegalHold(db, { tenantId: 'h', runId: null }, HOLD);
  const pages = await pagesRead(db, async (counted) => {
    assert.deepEqual(await listKeptContents(counted, 'h', 50), []);
  });
  assert.ok(pages < 10, `${pages} pages`);
  await liftLegalHold(db, { tenantId: 'h', runId: null });
});

test('a run that was erased before it was stored is found once more', async () => {
  const { runId, entries } = simpleJournal();
  await eraseRunContents(db, 'e', [runId]);
  await writeBatch(db, [recordOf(runId, entries, { tenantId: 'e' })]);
  assert.deepEqual(await kept('e'), [runId]);
  await eraseRunContents(db, 'e', [runId]);
  assert.deepEqual(await kept('e'), []);
});

test('tenants with such contents are listed with their periods, each by its partition', async () => {
  const own = await migratedDatabase();
  const store = async (tenantId: string): Promise<void> => {
    const { runId, entries } = simpleJournal();
    await writeBatch(own, [recordOf(runId, entries, { tenantId })]);
  };
  for (const tenantId of ['a', 'b', 'b', 'far']) await store(tenantId);
  await ensureTenant(own, { id: 'far', partition: 7, timeZone: 'UTC' });
  for (const tenantId of ['b', 'idle']) {
    await changeRetention(own, { tenantId, by: 'key_1' }, async () => ({
      content_days: 1,
      event_days: null,
    }));
  }
  assert.deepEqual(await listRetention(own, 0), [
    { tenantId: 'a', ...NONE },
    { tenantId: 'b', content_days: 1, event_days: null },
  ]);
  assert.deepEqual(await listRetention(own, 7), [{ tenantId: 'far', ...NONE }]);
  assert.deepEqual(await listRetention(await migratedDatabase(), 0), []);
});

test('each service may do what it has to, and no more', async () => {
  const as = (role: string, statement: string) =>
    db.transaction().execute(async (tx) => {
      await sql`set local role ${sql.id(role)}`.execute(tx);
      await sql.raw(statement).execute(tx);
    });
  await as('signalbox_api', `insert into retention (tenant_id, content_days) values ('role', 1)`);
  await as('signalbox_scheduler', 'select * from retention');
  for (const [role, statement] of [
    ['signalbox_scheduler', 'update retention set content_days = 2'],
    ['signalbox_scheduler', 'update runs set content_erased = false'],
    ['signalbox_writer', 'select * from retention'],
    ['signalbox_api', `select month_keep_days('a', 'b', 1)`],
  ] as const) {
    await assert.rejects(as(role, statement), /permission denied/, `${role}: ${statement}`);
  }
});
