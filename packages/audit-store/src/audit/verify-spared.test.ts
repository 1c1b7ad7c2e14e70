/** Events of a record that Postgres refused: their text is checked, and their spared columns hold nothing else. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type RawBuilder, sql } from 'kysely';
import { recordOf, simpleJournal, TENANT } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { verifyAudit } from './verify-audit.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

/** A run with one refused record, its third; the id it has in quarantine. */
const withRefused = async (): Promise<{ runId: string; quarantineId: string }> => {
  const { runId, entries } = simpleJournal();
  const { quarantined } = await writeBatch(db, [
    recordOf(runId, entries.slice(0, 2)),
    recordOf(runId, entries.slice(2, 3), { contents: [['sha256:x', '%%%']] }),
    recordOf(runId, entries.slice(3)),
  ]);
  const [refused] = quarantined;
  assert.equal(refused?.reason, 'refused');
  return { runId, quarantineId: refused.id };
};

test('a damaged event within a refused record lies in quarantine by itself', async () => {
  const { runId, entries } = simpleJournal();
  const damaged = entries.map((entry, i) => (i === 1 ? entry.replace('"epoch":2', '"epoch":3') : entry));
  const record = recordOf(runId, damaged, { contents: [['sha256:x', '%%%']] });
  const { quarantined } = await writeBatch(db, [record]);
  assert.deepEqual(quarantined.map(({ reason }) => reason).toSorted(), ['not_authentic', 'refused']);
  const found = await verifyAudit(db, TENANT, runId);
  assert.deepEqual([found?.first_bad, found?.checked, found?.quarantined], [null, 5, 5]);
});

/** As the owner of the table, who sets the triggers aside. */
const tamper = (set: RawBuilder<unknown>, { runId, seq }: { runId: string; seq: number }): Promise<unknown> =>
  db.transaction().execute(async (tx) => {
    await sql`set local session_replication_role = replica`.execute(tx);
    await sql`update audit_events set ${set} where run_id = ${runId} and seq = ${seq}`.execute(tx);
  });

test('a spared event verifies, and is counted', async () => {
  const { runId } = await withRefused();
  const found = await verifyAudit(db, TENANT, runId);
  assert.deepEqual([found?.first_bad, found?.checked, found?.quarantined], [null, 5, 1]);
});

const FALSE = (id: string) => sql`jsonb_build_object('worker', 'another', 'quarantine_id', ${id}::text)`;

for (const [column, seq, set] of [
  ['data', 3, (id: string) => sql`data = ${FALSE(id)}`],
  ['actor', 3, () => sql`actor = '{"type": "operator", "id": "somebody else"}'`],
  ['ts', 3, () => sql`ts = ts + interval '1 day'`],
  // Its own record was not refused.
  ['data', 2, (id: string) => sql`data = ${FALSE(id)}`],
  ['data', 2, (id: string) => sql`data = jsonb_build_object('quarantine_id', ${id}::text)`],
  ['actor', 2, (id: string) => sql`data = ${FALSE(id)}, actor = null`],
] as const) {
  test(`a ${column} that is falsified under the name of a quarantined record: event ${seq}`, async () => {
    const { runId, quarantineId } = await withRefused();
    await tamper(set(quarantineId), { runId, seq });
    const found = await verifyAudit(db, TENANT, runId);
    assert.deepEqual([found?.first_bad?.seq, found?.ok], [seq, false]);
    assert.match(found?.first_bad?.why ?? '', new RegExp(`column ${column}`));
  });
}
