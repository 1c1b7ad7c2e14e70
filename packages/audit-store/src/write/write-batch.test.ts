import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { readEntry } from '@signalbox/engine';
import { dumpRows } from '../../test/dump-rows.ts';
import {
  claimed,
  journalOf,
  recordOf,
  recordsOf,
  simpleJournal,
  submitted,
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
