import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { GENESIS, newId } from '@signalbox/contracts';
import { appendDrafts, chainBreak, readEntry } from '@signalbox/engine';
import { dumpRows } from '../test/dump-rows.ts';
import {
  callFailed,
  claimed,
  completed,
  expired,
  holdId,
  journalOf,
  MODEL,
  recordOf,
  recordsOf,
  requested,
  simpleJournal,
  submitted,
  succeeded,
  TENANT,
} from '../test/journal.ts';
import { migratedDatabase } from '../test/support.ts';
import type { Db } from './pool.ts';
import { readRun } from './read.ts';
import { writeBatch } from './write.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const runRow = (id: string) =>
  db.selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const ledgerRow = (id: string) =>
  db.selectFrom('cost_ledger').selectAll().where('hold_id', '=', id).executeTakeFirstOrThrow();
const dayOf = async (day: string) =>
  (await db.selectFrom('daily_costs').selectAll().where('day', '=', day).execute()).map((row) => ({
    ...row,
  }));

describe('writeBatch', () => {
  test('stores events exactly, and the projections of a whole run', async () => {
    const journal = simpleJournal();
    const { runId } = journal;
    const contents = [['sha256:submission', Buffer.from('sealed').toString('base64')]] as const;
    const first = recordOf(runId, journal.entries.slice(0, 2), { wrappedKey: 'wrapped', contents });
    const result = await writeBatch(db, [first, recordOf(runId, journal.entries.slice(2))]);

    assert.equal(result.inserted, 5);
    assert.deepEqual(result.heads.get(runId), { seq: 5, terminal: true });
    const stored = await readRun(db, TENANT, runId);
    assert.deepEqual(stored?.entries, journal.entries);
    assert.equal(stored?.wrappedKey, 'wrapped');
    assert.deepEqual([...(stored?.contents ?? [])], contents);

    const { status, agent, agent_version, user_id, session_id, steps, last_seq, ...run } =
      await runRow(runId);
    assert.deepEqual(
      { status, agent, agent_version, user_id, session_id, steps, last_seq },
      {
        status: 'succeeded',
        agent: 'support',
        agent_version: 3,
        user_id: 'u1',
        session_id: 's1',
        steps: 1,
        last_seq: 5,
      },
    );
    assert.equal(run.cost_observed_usd, '0.002100000');
    assert.equal(run.input_tokens, 100);
    assert.equal(run.created_at.toISOString(), journal.events[0]?.ts);
    assert.equal(run.started_at?.toISOString(), journal.events[1]?.ts);
    assert.equal(run.finished_at?.toISOString(), journal.events[4]?.ts);

    const event = await db
      .selectFrom('audit_events')
      .selectAll()
      .where('run_id', '=', runId)
      .where('seq', '=', 4)
      .executeTakeFirstOrThrow();
    assert.equal(event.event_id, `${runId}.4`);
    assert.equal(event.category, 'llm');
    assert.deepEqual(event.data, journal.events[3]?.data);
  });

  test('a redelivery, in any grouping, changes nothing (R8)', async () => {
    const journal = simpleJournal();
    const broken = recordOf(newId('run'), [`${'a'.repeat(64)}{"no":"event"}`]);
    const records = [...recordsOf(journal), broken];
    await writeBatch(db, records);
    const before = await dumpRows(db);

    const again = await writeBatch(db, records);
    for (const record of records.toReversed()) await writeBatch(db, [record]);
    const twice = await writeBatch(db, [...records, ...records]);

    assert.equal(await dumpRows(db), before);
    assert.equal(again.inserted, 0);
    assert.equal(again.duplicates, 5);
    assert.equal(twice.duplicates, 10);
    assert.deepEqual(again.heads.get(journal.runId), { seq: 5, terminal: true });
  });

  test('a late redelivery does not bring back an erased key', async () => {
    const { runId, entries } = simpleJournal();
    const record = recordOf(runId, entries, { wrappedKey: 'wrapped' });
    await writeBatch(db, [record]);
    await db.deleteFrom('run_keys').where('run_id', '=', runId).execute();
    await writeBatch(db, [record]);
    assert.equal((await readRun(db, TENANT, runId))?.wrappedKey, null);
  });

  test('heads stop at a gap, and jump when it is filled (R5)', async () => {
    const { runId, entries } = simpleJournal();
    const part = (from: number, to: number) => [recordOf(runId, entries.slice(from, to))];
    const head = async (from: number, to: number) => (await writeBatch(db, part(from, to))).heads.get(runId);
    assert.deepEqual(await head(3, 5), { seq: 0, terminal: false });
    assert.deepEqual(await head(0, 1), { seq: 1, terminal: false });
    assert.deepEqual(await head(1, 3), { seq: 5, terminal: true });
    assert.equal((await runRow(runId)).status, 'succeeded');
  });

  test('two writers with the same and with neighbouring records of one run', async () => {
    const { runId, entries } = simpleJournal();
    const halves = [recordOf(runId, entries.slice(0, 3)), recordOf(runId, entries.slice(3))];
    const results = await Promise.all([
      writeBatch(db, [...halves]),
      writeBatch(db, halves.slice(1)),
      writeBatch(db, halves.slice(0, 1)),
    ]);
    assert.equal(
      results.reduce((sum, { inserted }) => sum + inserted, 0),
      5,
    );
    const run = await runRow(runId);
    assert.deepEqual([run.last_seq, run.cost_observed_nano], [5, 2_100_000]);
  });
});

describe('cost', () => {
  test('a settlement before its hold counts once, on the day of the hold', async () => {
    const runId = newId('run');
    const day = '2031-01-01';
    const call = { runId, step: 1, day };
    const records = recordsOf(
      journalOf(runId, [submitted(), claimed(), requested(call), completed(call), succeeded(1)]),
    );
    await writeBatch(db, records.slice(3));
    assert.deepEqual(await dayOf(day), []);
    assert.equal((await runRow(runId)).cost_observed_nano, 2_100_000);
    const half = await ledgerRow(holdId(runId, 1));
    assert.deepEqual([half.state, half.day, half.held_nano], ['settled', null, null]);

    await writeBatch(db, records.slice(0, 3));
    const { held_nano, observed_nano, state, provider, model, price_version } = await ledgerRow(
      holdId(runId, 1),
    );
    assert.deepEqual(
      { held_nano, observed_nano, state, provider, model, price_version },
      {
        held_nano: 5_000_000,
        observed_nano: 2_100_000,
        state: 'settled',
        provider: 'openai',
        model: MODEL,
        price_version: 'prices-1',
      },
    );
    const expected = {
      tenant_id: TENANT,
      day,
      user_id: 'u1',
      agent: 'support',
      model: MODEL,
      observed_nano: 2_100_000,
      calls: 1,
    };
    assert.deepEqual(await dayOf(day), [expected]);
  });

  test('holds, failures and expiries', async () => {
    const runId = newId('run');
    const day = '2031-01-02';
    const at = (attempt: number, nano?: number) => ({
      runId,
      step: 1,
      attempt,
      day,
      ...(nano === undefined ? {} : { nano }),
    });
    const drafts = [
      submitted({ user_id: null }),
      claimed(),
      requested(at(1)),
      callFailed(at(1, 7)),
      requested(at(2)),
      expired(at(2, 5_000_000)),
      requested(at(3)),
    ];
    const records = recordsOf(journalOf(runId, drafts)).map((record) => ({ ...record, userId: null }));
    await writeBatch(db, records);
    const states = await Promise.all(
      [1, 2, 3].map(async (n) => (await ledgerRow(holdId(runId, 1, n))).state),
    );
    assert.deepEqual(states, ['settled', 'expired', 'held']);
    const [row] = await dayOf(day);
    assert.deepEqual([row?.user_id, row?.observed_nano, row?.calls], ['', 5_000_007, 0]);
    const run = await runRow(runId);
    assert.deepEqual([run.cost_observed_nano, run.estimated, run.status], [5_000_007, true, 'running']);
  });
});

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

test('NUL, lone surrogates and look-alikes in any text are stored without breaking the batch', async () => {
  const runId = newId('run');
  const nasty = 'a\u0000b\ud800c\udc00d\\u0000e\\\\ud800f\u{1f600}';
  const shown = 'a\ufffdb\ufffdc\ufffdd\\u0000e\\\\ud800f\u{1f600}';
  const failed = {
    type: 'run.failed',
    data: { code: nasty, message: nasty, details: { [nasty]: [nasty] } },
  } as const;
  const journal = journalOf(runId, [submitted({ user_id: nasty, session_id: nasty }), claimed(), failed]);
  const result = await writeBatch(db, [
    recordOf(runId, journal.entries, { userId: nasty, agent: nasty }),
    ...recordsOf(simpleJournal()),
  ]);

  assert.deepEqual([result.inserted, result.quarantined], [8, []]);
  const stored = await readRun(db, TENANT, runId);
  assert.deepEqual(stored?.entries, journal.entries);
  assert.deepEqual((stored?.entries ?? []).map(readEntry), journal.events);
  const { user_id, session_id, error_code } = await runRow(runId);
  assert.deepEqual([user_id, session_id, error_code], [shown, shown, shown]);
  const event = await db
    .selectFrom('audit_events')
    .select('data')
    .where('run_id', '=', runId)
    .where('seq', '=', 3)
    .executeTakeFirstOrThrow();
  assert.deepEqual(event.data, { code: shown, message: shown, details: { [shown]: [shown] } });
});
