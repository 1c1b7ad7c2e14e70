/** What was put into the log, or taken out of sight, where no checkpoint holds it yet. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { sql } from 'kysely';
import {
  adminRecord,
  asPool,
  type InWorld,
  offline,
  openWorlds,
  signer,
  TS,
} from '../../test/signed-world.ts';
import { journalOf, recordOf, simpleJournal, submitted, TENANT } from '../../test/journal.ts';
import { takeCheckpoint } from './checkpoints.ts';
import type { Db } from '../db/pool.ts';
import { listAuditEvents } from './read-audit.ts';
import { strayRuns } from './stray-runs.ts';
import { verifyAudit } from './verify-audit.ts';
import { writeBatch } from '../write/write-batch.ts';

let inWorld: InWorld;
before(async () => {
  inWorld = await openWorlds();
});

const stored = async (tx: Db, journal = simpleJournal()): Promise<string> => {
  await writeBatch(asPool(tx), [recordOf(journal.runId, journal.entries)]);
  return journal.runId;
};

const assertFound = async (tx: Db, bad: { run_id: string; seq: number; why: string }): Promise<void> => {
  for (const runId of [null, bad.run_id]) {
    const found = await verifyAudit(tx, TENANT, runId);
    assert.deepEqual([found?.ok, found?.first_bad], [false, bad]);
  }
};

test('an event that is listed, of a run that there never was', async () => {
  await inWorld(async ({ tx }) => {
    const runId = newId('run');
    await sql`
      insert into audit_events (run_id, seq, event_id, tenant_id, epoch, type, category, ts, hash, data)
      values (${runId}, 1, 'x', ${TENANT}, 1, 'run.submitted', 'run', ${TS}, 'none', '{"forged": true}')`.execute(
      tx,
    );
    const { rows } = await listAuditEvents(tx, { tenantId: TENANT, limit: 500 });
    assert.ok(rows.some((row) => row.run_id === runId));
    await assertFound(tx, { run_id: runId, seq: 1, why: 'the body is gone, and not in quarantine' });
  });
});

test('a run whose row was taken away', async () => {
  await inWorld(async ({ tx }) => {
    const runId = await stored(tx);
    await sql`delete from runs where id = ${runId}`.execute(tx);
    await assertFound(tx, { run_id: runId, seq: 1, why: 'the run is gone; its events are there' });
  });
});

test('a run of which nothing is left but that it is to be signed', async () => {
  await inWorld(async ({ tx }) => {
    const runId = await stored(tx);
    for (const table of ['audit_events', 'cost_ledger'])
      await sql`delete from ${sql.table(table)} where run_id = ${runId}`.execute(tx);
    await sql`delete from runs where id = ${runId}`.execute(tx);
    const { missing } = await takeCheckpoint(asPool(tx), TENANT, signer);
    assert.deepEqual(missing, [runId]);
    await assertFound(tx, {
      run_id: runId,
      seq: 1,
      why: 'the whole chain is missing; the mark that it is to be signed names 5 events',
    });
  });
});

test("another tenant's run, given to this one: online and offline", async () => {
  await inWorld(async (world) => {
    const foreign = journalOf(newId('run'), [submitted({ tenant_id: 'other' })]);
    const bad = { run_id: await stored(world.tx, foreign), seq: 1, why: 'the event is of another tenant' };
    await assertFound(world.tx, bad);
    assert.deepEqual((await offline(world)).first_bad, bad);
  });
});

test('a chain that no checkpoint holds, and whose mark was taken away or set back', async () => {
  await inWorld(async ({ tx }) => {
    const runId = await stored(tx);
    const why = 'no checkpoint holds it, and none is going to';
    await sql`update checkpoint_due set seq = 2 where run_id = ${runId}`.execute(tx);
    await assertFound(tx, { run_id: runId, seq: 3, why });
    await sql`delete from checkpoint_due where run_id = ${runId}`.execute(tx);
    await assertFound(tx, { run_id: runId, seq: 1, why });
  });
});

test('a checkpoint that is only written down needs no other', async () => {
  await inWorld(async ({ tx }) => {
    const sign = async (): Promise<boolean> =>
      (await takeCheckpoint(asPool(tx), TENANT, signer)).checkpoint !== null;
    await writeBatch(asPool(tx), [adminRecord(TENANT, 'checkpoint.written')]);
    assert.deepEqual([await sign(), (await verifyAudit(tx, TENANT, null))?.first_bad], [false, null]);
    await writeBatch(asPool(tx), [adminRecord(TENANT, 'key.revoked')]);
    assert.equal((await verifyAudit(tx, TENANT, null))?.first_bad, null);
    assert.deepEqual([await sign(), (await verifyAudit(tx, TENANT, null))?.first_bad], [true, null]);
  });
});

test('strays are found wherever they lie, and of one tenant alone', async () => {
  await inWorld(async ({ tx }) => {
    const strays = [await stored(tx), await stored(tx)];
    await sql`delete from runs where id = any(${strays}::text[])`.execute(tx);
    const find = async (tenantId: string): Promise<string[]> => {
      const found = new Set<string>();
      for await (const ids of strayRuns(tx, tenantId, { mostLookedAt: 3 }))
        for (const id of ids) found.add(id);
      return [...found].toSorted();
    };
    assert.deepEqual([await find(TENANT), await find('other')], [strays.toSorted(), []]);
  });
});
