/** Checkpoints beside a writer that moves a chain at that very moment, on connections of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '@signalbox/local';
import { sql } from 'kysely';
import { recordOf, simpleJournal, TENANT } from '../../test/journal.ts';
import { signer } from '../../test/signed-world.ts';
import { connect, emptyDatabase } from '../../test/support.ts';
import { listCheckpoints, listTenantsDue, MAX_CHECKPOINT_CHAINS, takeCheckpoint } from './checkpoints.ts';
import { migrate } from '../migrate.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from '../write/write-batch.ts';

const GATE = 42;

/** A database whose scheduler stops, while the gate is shut, at the first mark that a statement of it has come to. */
const gated = async (): Promise<{ writer: Db; scheduler: Db }> => {
  const url = await emptyDatabase();
  await migrate(url);
  const writer = connect(url);
  await sql`
    create function pass_gate() returns boolean language sql volatile as
    'select pg_advisory_xact_lock_shared(${sql.lit(GATE)}) is not null'`.execute(writer);
  await sql`create policy gate on checkpoint_due using (pass_gate())`.execute(writer);
  await sql`alter table checkpoint_due enable row level security`.execute(writer);
  return {
    writer,
    scheduler: connect(`${url}?options=${encodeURIComponent('-c role=signalbox_scheduler')}`),
  };
};

/** With the gate shut: what is begun is held at it, then `beside` happens, then the gate opens. */
const atGate = async <T>(db: Db, begin: () => Promise<T>, beside: () => Promise<unknown>): Promise<T> => {
  const begun = await db.connection().execute(async (gate) => {
    await sql`select pg_advisory_lock(${GATE})`.execute(gate);
    const running = begin();
    await waitFor(
      async () => {
        const { rows } = await sql`select from pg_locks where locktype = 'advisory' and not granted
            and database = (select oid from pg_database where datname = current_database())`.execute(gate);
        return rows.length > 0 ? true : undefined;
      },
      { timeoutMs: 10_000, what: 'the scheduler at the gate' },
    );
    await beside();
    await sql`select pg_advisory_unlock(${GATE})`.execute(gate);
    return { running };
  });
  return begun.running;
};

test('a chain that ends between the look at its mark and the lock on it is signed to its end', async () => {
  const { writer, scheduler } = await gated();
  const { runId, entries } = simpleJournal();
  await writeBatch(writer, [recordOf(runId, entries.slice(0, 2))]);
  const { checkpoint } = await atGate(
    writer,
    () => takeCheckpoint(scheduler, TENANT, signer),
    () => writeBatch(writer, [recordOf(runId, entries.slice(2))]),
  );
  assert.equal(checkpoint?.chains, 1);
  const [line] = await listCheckpoints(writer, TENANT, { after: 0, limit: 1 });
  assert.deepEqual(
    line?.leaves.map(({ run_id, seq }) => [run_id, seq]),
    [[runId, entries.length]],
  );
  assert.deepEqual(await listTenantsDue(writer), []);
});

test('a mark whose event is not there stays until it is, and the chain is signed then', async () => {
  const { writer } = await gated();
  const { runId, entries } = simpleJournal();
  await writeBatch(writer, [recordOf(runId, entries)]);
  await sql`update checkpoint_due set seq = ${entries.length + 1}`.execute(writer);
  const none = { checkpoint: null, more: false, missing: [runId] };
  assert.deepEqual(await takeCheckpoint(writer, TENANT, signer), none);
  assert.deepEqual(await listTenantsDue(writer), [TENANT]);
  await sql`update checkpoint_due set seq = ${entries.length}`.execute(writer);
  assert.equal((await takeCheckpoint(writer, TENANT, signer)).checkpoint?.chains, 1);
  assert.deepEqual(await listTenantsDue(writer), []);
});

test('marks of months that have left are taken away, and hide no chain behind them', async () => {
  const { writer } = await gated();
  const { runId, entries } = simpleJournal();
  await writeBatch(writer, [recordOf(runId, entries)]);
  await sql`
    insert into checkpoint_due (tenant_id, run_id, seq)
    select ${TENANT}, 'run_' || lpad(n::text, 32, '0'), 1
    from generate_series(1, ${MAX_CHECKPOINT_CHAINS}::int) n`.execute(writer);
  assert.deepEqual(await takeCheckpoint(writer, TENANT, signer), {
    checkpoint: null,
    more: true,
    missing: [],
  });
  const { checkpoint, more } = await takeCheckpoint(writer, TENANT, signer);
  assert.deepEqual([checkpoint?.chains, more], [1, false]);
  assert.deepEqual(await listTenantsDue(writer), []);
});
