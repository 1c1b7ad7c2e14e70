import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { sql } from 'kysely';
import {
  claimed,
  completed,
  journalOf,
  recordOf,
  recordsOf,
  requested,
  simpleJournal,
  submitted,
  toolCompleted,
  toolRequested,
} from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import { ensurePartitions } from '../retention/partitions.ts';
import type { Db } from './pool.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const partitionOf = async (runId: string): Promise<string | undefined> => {
  const { rows } = await sql<{ name: string }>`
    select tableoid::regclass::text as name from audit_events where run_id = ${runId} limit 1`.execute(db);
  return rows[0]?.name;
};

/** A run id made at this instant. */
const runIdAt = (instant: string): string =>
  `run_${Date.parse(instant).toString(16).padStart(12, '0')}7${'0'.repeat(19)}`;

const store = (runId: string) => writeBatch(db, [recordOf(runId, journalOf(runId, [submitted()]).entries)]);

describe('audit_events', () => {
  test('is append-only, through the parent and through a partition, even for its owner', async () => {
    const { runId, entries } = simpleJournal();
    await writeBatch(db, [recordOf(runId, entries)]);
    const partition = await partitionOf(runId);
    assert.match(partition ?? '', /^audit_events_\d{4}_\d{2}$/);
    for (const table of ['audit_events', partition ?? '', 'audit_events_default']) {
      const statements = [sql`truncate ${sql.table(table)}`];
      if (table !== 'audit_events_default') {
        statements.push(sql`update ${sql.table(table)} set type = 'x' where run_id = ${runId}`);
        statements.push(sql`delete from ${sql.table(table)} where run_id = ${runId}`);
      }
      for (const statement of statements) await assert.rejects(statement.execute(db), /append-only/);
    }
    const { rows } = await sql<{
      n: number;
    }>`select count(*) as n from audit_events where run_id = ${runId}`.execute(db);
    assert.deepEqual(rows, [{ n: 5 }]);
  });

  test('the writer may insert, not change; the api may only read', async () => {
    const as = (role: string, statement: ReturnType<typeof sql>) =>
      db.transaction().execute(async (tx) => {
        await sql`set local role ${sql.id(role)}`.execute(tx);
        await statement.execute(tx);
      });
    const { runId, entries } = simpleJournal();
    await db.transaction().execute(async (tx) => {
      await sql`set local role signalbox_writer`.execute(tx);
      const result = await writeBatch(new Proxy(tx, { get: useOpenTransaction(tx) }), [
        recordOf(runId, entries),
      ]);
      assert.equal(result.inserted, 5);
    });
    const denied = /permission denied/;
    await assert.rejects(as('signalbox_writer', sql`update audit_events set type = 'x'`), denied);
    await assert.rejects(as('signalbox_writer', sql`delete from audit_events`), denied);
    await assert.rejects(as('signalbox_writer', sql`truncate audit_events`), denied);
    await as('signalbox_writer', sql`update incarnations set batches = batches + 1`);
    await assert.rejects(as('signalbox_writer', sql`update incarnations set n = 9`), denied);
    await assert.rejects(as('signalbox_api', sql`insert into contents values ('r', 'x', '')`), denied);
    await assert.rejects(as('signalbox_api', sql`delete from run_keys`), denied);
    await as('signalbox_api', sql`select * from replay_records, audit_quarantine`);
    await as('signalbox_scheduler', sql`select ensure_audit_partitions(now(), 3)`);
    await assert.rejects(as('signalbox_api', sql`select ensure_audit_partitions(now(), 3)`), denied);
  });

  test('partitions: by the month a run was made, made ahead, made once', async () => {
    assert.equal(await ensurePartitions(db, new Date('2040-11-30T23:59:59Z')), 3);
    assert.equal(await ensurePartitions(db, new Date('2040-12-01T00:00:00Z')), 1);
    const both = await Promise.all([1, 2].map(() => ensurePartitions(db, new Date('2041-01-15T00:00:00Z'))));
    assert.deepEqual(
      both.toSorted((a, b) => a - b),
      [0, 1],
    );

    const first = runIdAt('2040-12-01T00:00:00.000Z');
    const last = runIdAt('2040-11-30T23:59:59.999Z');
    const far = runIdAt('2050-06-01T00:00:00.000Z');
    await Promise.all([first, last, far].map(store));
    assert.equal(await partitionOf(first), 'audit_events_2040_12');
    assert.equal(await partitionOf(last), 'audit_events_2040_11');
    assert.equal(await partitionOf(far), 'audit_events_default');
    // The month that already has rows in the default partition stays there; the others are made.
    assert.equal(await ensurePartitions(db, new Date('2050-05-01T00:00:00Z')), 2);
    assert.equal(await partitionOf(far), 'audit_events_default');
  });

  test('a fresh database has this month and the next two', async () => {
    const { rows } = await sql<{ made: number }>`select ensure_audit_partitions(now(), 3) as made`.execute(
      db,
    );
    assert.deepEqual(rows, [{ made: 0 }]);
  });

  test('a partition leaves with its rows', async () => {
    await ensurePartitions(db, new Date('2045-01-01T00:00:00Z'));
    const runId = runIdAt('2045-01-02T00:00:00Z');
    await store(runId);
    assert.equal(await partitionOf(runId), 'audit_events_2045_01');
    await sql`drop table audit_events_2045_01`.execute(db);
    assert.equal(await partitionOf(runId), undefined);
  });
});

/** Lets writeBatch run inside a transaction that is open already, so that `set local role` holds. */
function useOpenTransaction(tx: Db) {
  return (target: Db, key: string | symbol): unknown =>
    key === 'transaction'
      ? () => ({
          setIsolationLevel: () => ({ execute: (work: (inner: Db) => Promise<unknown>) => work(tx) }),
        })
      : Reflect.get(target, key, target);
}

test('replay_records: a row per attempt, with what went in, what came out and what it cost', async () => {
  const runId = newId('run');
  const journal = journalOf(runId, [
    submitted(),
    claimed(),
    requested({ runId, step: 1 }),
    completed({ runId, step: 1 }),
    toolRequested(2),
    toolCompleted(2),
    requested({ runId, step: 3, nano: 7_000_000 }),
  ]);
  await writeBatch(db, recordsOf(journal));
  const rows = await db
    .selectFrom('replay_records')
    .selectAll()
    .where('run_id', '=', runId)
    .orderBy('step_index')
    .execute();
  const at = (seq: number): string | undefined => journal.events[seq - 1]?.ts;
  assert.deepEqual(
    rows.map((row) => [
      row.step_index,
      row.attempt,
      row.kind,
      row.input_ref,
      row.output_ref,
      row.cost_estimate_usd,
      row.cost_observed_usd,
      row.price_version,
      row.started_at.toISOString(),
      row.finished_at?.toISOString(),
      row.outcome,
    ]),
    [
      [
        1,
        1,
        'llm',
        'sha256:submission',
        'sha256:output-1',
        '0.005000000',
        '0.002100000',
        'prices-1',
        at(3),
        at(4),
        'completed',
      ],
      [2, 1, 'tool', 'sha256:output-1', 'sha256:result-2', null, null, null, at(5), at(6), 'completed'],
      [3, 1, 'llm', 'sha256:result-2', null, '0.007000000', null, 'prices-1', at(7), undefined, null],
    ],
  );
});
