import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { GENESIS, newId } from '@signalbox/contracts';
import { appendDrafts, chainBreak } from '@signalbox/engine';
import { dumpRows } from '../../test/dump-rows.ts';
import {
  claimed,
  journalOf,
  recordOf,
  recordsOf,
  simpleJournal,
  submitted,
  succeeded,
  TENANT,
} from '../../test/journal.ts';
import { runRowIn } from '../../test/run-row.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { readRun } from '../runs/read-runs.ts';
import { writeBatch } from './write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const runRow = runRowIn(() => db);

describe('quarantine', () => {
  test('another hash at a stored place is a fork: kept apart and reported', async () => {
    const runId = newId('run');
    const journal = journalOf(runId, [submitted(), claimed()]);
    const other = journalOf(runId, [submitted({ user_id: 'someone else' })]);
    const [forged = ''] = other.entries;
    await writeBatch(db, [recordOf(runId, journal.entries)]);
    const result = await writeBatch(db, [recordOf(runId, [forged])]);

    assert.deepEqual(
      result.quarantined.map(({ runId: id, seq, reason }) => ({ id, seq, reason })),
      [{ id: runId, seq: 1, reason: 'fork' }],
    );
    const kept = await db
      .selectFrom('audit_quarantine')
      .select('raw')
      .where('run_id', '=', runId)
      .executeTakeFirstOrThrow();
    assert.equal(kept.raw.toString(), forged);
    assert.deepEqual((await readRun(db, TENANT, runId))?.entries, journal.entries);
    assert.equal((await runRow(runId)).user_id, 'u1');
  });

  test('a fork inside one batch: the first stands', async () => {
    const runId = newId('run');
    const [first, second] = [submitted(), submitted({ session_id: 'other' })].map((draft) =>
      journalOf(runId, [draft]),
    );
    const result = await writeBatch(
      db,
      [first, second].map((journal) => recordOf(runId, journal?.entries ?? [])),
    );
    assert.deepEqual([result.inserted, result.quarantined.map((q) => q.reason)], [1, ['fork']]);
  });

  test('a poison record is isolated; its events keep place, hash and text', async () => {
    const runId = newId('run');
    const good = [simpleJournal(), simpleJournal(), simpleJournal()];
    const journal = journalOf(runId, [submitted(), claimed(), succeeded(0)]);
    // Authentic, but no instant Postgres knows: the engine's own shape, with a broken clock.
    const poison = journalOf(runId, [submitted()]);
    const body = (poison.entries[0] ?? '').slice(64).replace(/"ts":"[^"]*"/, '"ts":"the day after tomorrow"');
    const { createHash } = await import('node:crypto');
    const entry = createHash('sha256').update(body).digest('hex') + body;
    const records = [
      ...recordsOf(good[0] ?? journal),
      recordOf(runId, [entry], { wrappedKey: 'wrapped', contents: [['sha256:submission', 'c2VhbGVk']] }),
      ...recordsOf(good[1] ?? journal),
      ...recordsOf(good[2] ?? journal),
    ];
    const result = await writeBatch(db, records);

    assert.equal(result.inserted, 15);
    assert.deepEqual(
      result.quarantined.map((q) => [q.runId, q.reason]),
      [[runId, 'refused']],
    );
    assert.match(result.quarantined[0]?.detail ?? '', /^22007 /);
    assert.deepEqual(result.heads.get(runId), { seq: 1, terminal: false });
    const stored = await readRun(db, TENANT, runId);
    assert.deepEqual(stored?.entries, [entry]);
    assert.equal(chainBreak(stored?.entries ?? []), null);
    assert.equal(stored?.wrappedKey, 'wrapped');
    const before = await dumpRows(db);
    await writeBatch(db, records);
    assert.equal(await dumpRows(db), before);
  });

  test('what a refused record tells of its run is told: its row and its costs are as if nothing had been wrong', async () => {
    const [sound, refused] = [simpleJournal(), simpleJournal()];
    await writeBatch(db, recordsOf(sound));
    const { quarantined, heads } = await writeBatch(db, [
      recordOf(refused.runId, refused.entries, { contents: [['sha256:x', '%%%']] }),
    ]);
    assert.equal(quarantined[0]?.reason, 'refused');
    assert.deepEqual(heads.get(refused.runId), { seq: 5, terminal: true });
    const rowOf = (runId: string) =>
      db.selectFrom('runs').selectAll().where('id', '=', runId).executeTakeFirstOrThrow();
    const [a, b] = [await rowOf(sound.runId), await rowOf(refused.runId)];
    assert.deepEqual({ ...b, id: a.id, root_run_id: a.root_run_id }, a);
    assert.deepEqual([b.status, b.status_seq <= b.last_seq], ['succeeded', true]);
    const before = await dumpRows(db);
    await writeBatch(db, [recordOf(refused.runId, refused.entries)]);
    assert.equal(await dumpRows(db), before);
  });

  test('in a batch of a thousand only the bad events are set apart; each leaves its hash in its place', async () => {
    const journals = Array.from({ length: 200 }, () => simpleJournal());
    const records = journals.flatMap(recordsOf);
    const [damaged, refused] = [records[501], records[753]];
    assert.ok(damaged !== undefined && refused !== undefined);
    const [entry = ''] = damaged.entries;
    const batch = records
      .with(501, { ...damaged, entries: [entry.replace('"worker":"w1"', '"worker":"w2"')] })
      // Postgres takes the event, not what comes with it: the whole batch fails, and is halved until that one is alone.
      .with(753, { ...refused, contents: [['sha256:x', '%%%']] });
    const result = await writeBatch(db, batch);

    assert.equal(result.inserted, 998);
    assert.deepEqual(
      new Set(result.quarantined.map(({ runId, reason }) => `${runId} ${reason}`)),
      new Set([`${damaged.runId} not_authentic`, `${refused.runId} refused`]),
    );
    const kept = await db
      .selectFrom('audit_quarantine')
      .select(['run_id', 'seq', 'reason'])
      .where('run_id', 'in', [damaged.runId, refused.runId])
      .orderBy('reason')
      .execute();
    assert.deepEqual(kept, [
      { run_id: damaged.runId, seq: 2, reason: 'not_authentic' },
      { run_id: refused.runId, seq: null, reason: 'refused' },
    ]);
    for (const { runId, entries } of journals) {
      assert.deepEqual(result.heads.get(runId), { seq: 5, terminal: true });
      const rows = await db
        .selectFrom('audit_events')
        .select('hash')
        .where('run_id', '=', runId)
        .orderBy('seq')
        .execute();
      assert.deepEqual(
        rows.map(({ hash }) => hash),
        entries.map((own) => own.slice(0, 64)),
      );
    }
  });

  test('an event whose damaged copy came first is kept apart: its place holds only its hash', async () => {
    const { runId, entries } = simpleJournal();
    const [a = '', b = ''] = entries;
    await writeBatch(db, [recordOf(runId, [a]), recordOf(runId, [b.replace('"w1"', '"w2"')])]);
    const late = await writeBatch(db, [recordOf(runId, [b]), recordOf(runId, entries.slice(2))]);
    assert.deepEqual(
      late.quarantined.map(({ seq, reason }) => [seq, reason]),
      [[2, 'displaced']],
    );
    const { raw } = await db
      .selectFrom('audit_quarantine')
      .select('raw')
      .where('run_id', '=', runId)
      .where('reason', '=', 'displaced')
      .executeTakeFirstOrThrow();
    assert.equal(raw.toString(), b);
    assert.deepEqual(late.heads.get(runId), { seq: 5, terminal: true });
  });

  test('garbage alone makes no run', async () => {
    const runId = newId('run');
    const result = await writeBatch(db, [recordOf(runId, ['no entry']), recordOf('', [''])]);
    assert.deepEqual(
      result.quarantined.map(({ reason }) => reason),
      ['not_authentic', 'not_authentic'],
    );
    assert.equal(result.heads.size, 0);
    const rows = await db.selectFrom('runs').select('id').where('id', 'in', [runId, '']).execute();
    assert.deepEqual(rows, []);
  });

  test('an entry that is no authentic event leaves a stub with its hash', async () => {
    const { runId, entries } = simpleJournal();
    const [a = '', b = '', c = '', ...rest] = entries;
    const tampered = c.replace('"step":1', '"step":2');
    const result = await writeBatch(db, [recordOf(runId, [a, b, tampered]), recordOf(runId, rest)]);

    assert.deepEqual(
      result.quarantined.map((q) => [q.seq, q.reason]),
      [[3, 'not_authentic']],
    );
    assert.deepEqual(result.heads.get(runId), { seq: 5, terminal: true });
    const rows = await db
      .selectFrom('audit_events')
      .select(['seq', 'hash', 'prev', 'body'])
      .where('run_id', '=', runId)
      .orderBy('seq')
      .execute();
    assert.deepEqual(rows[2], { seq: 3, hash: c.slice(0, 64), prev: null, body: null });
    assert.equal(rows[3]?.prev, rows[2]?.hash);
    assert.equal(chainBreak((await readRun(db, TENANT, runId))?.entries ?? [])?.seq, 3);
  });

  test('garbage, an entry of another run, and contents that are no base64 lose nothing else', async () => {
    const mine = simpleJournal();
    const other = simpleJournal();
    const result = await writeBatch(db, [
      recordOf(mine.runId, ['\u0000 not even close']),
      recordOf(mine.runId, [other.entries[0] ?? '']),
      recordOf(mine.runId, mine.entries, { contents: [['sha256:x', '%%%']] }),
      ...recordsOf(other),
    ]);
    assert.deepEqual(result.quarantined.map((q) => q.reason).toSorted(), [
      'not_authentic',
      'refused',
      'wrong_run',
    ]);
    assert.equal(result.inserted, 5);
    assert.deepEqual((await readRun(db, TENANT, mine.runId))?.entries, mine.entries);
  });
});

test('an event with a seq that no row can have is set aside, and keeps nothing from being stored', async () => {
  const runId = newId('run');
  const { entries } = appendDrafts({ seq: 2 ** 31 - 1, hash: GENESIS }, [claimed()], {
    runId,
    epoch: 1,
    ts: '2026-11-21T09:00:00.000Z',
    actor: { type: 'system', id: 'test' },
  });
  const result = await writeBatch(db, [recordOf(runId, entries), ...recordsOf(simpleJournal())]);

  assert.equal(result.inserted, 5);
  assert.deepEqual(
    result.quarantined.map((q) => [q.runId, q.reason, q.detail.slice(0, 5)]),
    [[runId, 'refused', '22003']],
  );
});
