import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { adminChainOf, type AdminEventDraft, type AuditRecord, newId } from '@signalbox/contracts';
import { chainBreak, readAdminEntry } from '@signalbox/engine';
import { simpleJournal, recordOf } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from './write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const draft = (tenantId: string, name = 'k'): AdminEventDraft => ({
  event_id: newId('evt'),
  tenant_id: tenantId,
  ts: '2026-11-21T09:00:00.000Z',
  actor: { type: 'operator', id: 'key_1' },
  type: 'key.revoked',
  data: { key_id: 'key_2', name },
});

let delivered = 0;
const record = (tenantId: string, adminDraft: string): AuditRecord => ({
  streamId: `${(delivered += 1)}-0`,
  runId: adminChainOf(tenantId),
  tenantId,
  userId: null,
  agent: null,
  rootRunId: '',
  wrappedKey: null,
  entries: [],
  contents: [],
  adminDraft,
});
const recordOfDraft = (event: AdminEventDraft): AuditRecord => record(event.tenant_id, JSON.stringify(event));

const chainOf = async (tenantId: string) => {
  const rows = await db
    .selectFrom('audit_events')
    .select(['hash', 'body', 'seq', 'event_id', 'category', 'tenant_id'])
    .where('run_id', '=', adminChainOf(tenantId))
    .orderBy('seq')
    .execute();
  return { rows, entries: rows.map(({ hash, body }) => hash + (body ?? '')) };
};

test('administration events get their place in the chain of their tenant, beside the runs of the batch', async () => {
  const [a, b, other] = [draft('acme', 'NUL \u0000 and \ud800'), draft('acme'), draft('other')];
  const run = simpleJournal();
  const result = await writeBatch(db, [
    recordOfDraft(a),
    recordOf(run.runId, run.entries),
    recordOfDraft(other),
    recordOfDraft(b),
  ]);
  assert.deepEqual([result.inserted, result.duplicates, result.quarantined], [8, 0, []]);
  assert.deepEqual([...result.heads.keys()], [run.runId]);
  const { rows, entries } = await chainOf('acme');
  assert.deepEqual(
    rows.map(({ seq, event_id, category, tenant_id }) => [seq, event_id, category, tenant_id]),
    [
      [1, a.event_id, 'admin', 'acme'],
      [2, b.event_id, 'admin', 'acme'],
    ],
  );
  assert.equal(chainBreak(entries), null);
  assert.deepEqual(readAdminEntry(entries[0] ?? '').data, a.data);
  assert.equal(chainBreak((await chainOf('other')).entries), null);
  const elsewhere = await db.selectFrom('runs').select('id').where('id', 'like', 'admin%').execute();
  assert.deepEqual(elsewhere, []);
});

test('an event that is delivered again, in whatever grouping, keeps the place it has', async () => {
  const drafts = [draft('again'), draft('again'), draft('again')];
  const records = drafts.map(recordOfDraft);
  await writeBatch(db, records.slice(0, 2));
  const before = (await chainOf('again')).entries;
  const [first] = records;
  assert.ok(first !== undefined);
  const result = await writeBatch(db, [...records, first]);
  assert.deepEqual([result.inserted, result.duplicates], [1, 3]);
  const { rows, entries } = await chainOf('again');
  assert.deepEqual(entries.slice(0, 2), before);
  assert.deepEqual(
    rows.map(({ event_id }) => event_id),
    drafts.map(({ event_id }) => event_id),
  );
  assert.equal(chainBreak(entries), null);
});

test('writers at once make one chain without a gap and without a twin', async () => {
  const drafts = Array.from({ length: 40 }, () => draft('crowd'));
  const batches = [0, 1, 2, 3].map((n) => drafts.filter((_, i) => i % 3 === n % 3).map(recordOfDraft));
  await Promise.all(batches.map((batch) => writeBatch(db, batch)));
  const { rows, entries } = await chainOf('crowd');
  assert.equal(rows.length, drafts.length);
  assert.deepEqual(new Set(rows.map(({ event_id }) => event_id)), new Set(drafts.map((d) => d.event_id)));
  assert.equal(chainBreak(entries), null);
});

test('what is no administration event, or names another tenant, is set aside whole and leaves no gap', async () => {
  const good = draft('odd');
  const { quarantined } = await writeBatch(db, [
    record('odd', '{"type":"key.revoked"}'),
    record('odd', JSON.stringify(draft('somebody'))),
    recordOfDraft(good),
  ]);
  assert.deepEqual(
    quarantined.map(({ runId, seq, reason }) => [runId, seq, reason]),
    [
      ['admin_odd', null, 'unreadable'],
      ['admin_odd', null, 'wrong_run'],
    ],
  );
  const { rows, entries } = await chainOf('odd');
  assert.deepEqual(
    rows.map(({ seq, event_id }) => [seq, event_id]),
    [[1, good.event_id]],
  );
  assert.equal(chainBreak(entries), null);
});

test('a row that was put behind the head does not stop the chain, and is seen', async () => {
  await writeBatch(db, [recordOfDraft(draft('forged'))]);
  const hash = 'f'.repeat(64);
  const row = { run_id: 'admin_forged', seq: 2, tenant_id: 'forged', type: 'key.created', body: '{}' };
  await db
    .insertInto('audit_events')
    .values({ ...row, event_id: 'forged', category: 'admin', ts: new Date(), hash })
    .execute();
  const { inserted } = await writeBatch(db, [recordOfDraft(draft('forged'))]);
  assert.equal(inserted, 1);
  const { entries } = await chainOf('forged');
  assert.equal(entries.length, 3);
  assert.equal(chainBreak(entries)?.seq, 2);
});

test('the partition of administration events takes them all: the default partition stays empty', async () => {
  await writeBatch(db, [recordOfDraft(draft('zz ünïcode~'))]);
  const { rows } = await chainOf('zz ünïcode~');
  assert.equal(rows.length, 1);
  const stray = await db
    .selectFrom('audit_events_default' as 'audit_events')
    .select('run_id')
    .where('run_id', 'like', 'admin%')
    .execute();
  assert.deepEqual(stray, []);
});
