import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { newId, SignalboxError } from '@signalbox/contracts';
import { until } from '@signalbox/local';
import { sql } from 'kysely';
import { recordsOf, simpleJournal } from '../../test/journal.ts';
import { connect, emptyDatabase, migratedDatabase } from '../../test/support.ts';
import { migrate } from '../migrate.ts';
import {
  joinIncarnation,
  raiseIncarnation,
  readProgress,
  RolledBackError,
  withVerificationLock,
} from './incarnation.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from '../write/write-batch.ts';

const untrusted = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'state_untrusted';

const countEvents = async (db: Db): Promise<number> =>
  Number((await sql<{ n: number }>`select count(*) as n from audit_events`.execute(db)).rows[0]?.n);

/** Somebody waits for an advisory lock. */
const somebodyWaits = (db: Db): Promise<true> =>
  until('somebody to wait for the lock', async () => {
    const { rows } = await sql<{ n: number }>`
        select count(*) as n from pg_locks
        where locktype = 'advisory' and not granted
          and database = (select oid from pg_database where datname = current_database())`.execute(db);
    return Number(rows[0]?.n) > 0;
  });

/** Pools of their own, as the processes have them: who waits must not keep others from a connection. */
const processes = async (): Promise<{ writer: Db; scheduler: Db; onlooker: Db }> => {
  const url = await emptyDatabase();
  await migrate(url);
  return { writer: connect(url), scheduler: connect(url), onlooker: connect(url) };
};

const verify = (db: Db, partition = 0): Promise<number> =>
  withVerificationLock(db, partition, () => raiseIncarnation(db, partition));

test('incarnations count from 0, each partition its own', async () => {
  const db = await migratedDatabase();
  assert.deepEqual([await verify(db), await verify(db), await verify(db, 1), await verify(db)], [0, 1, 0, 2]);
});

test('a batch is stored under the incarnation it was read under, and under no other', async () => {
  const db = await migratedDatabase();
  const batch = recordsOf(simpleJournal());
  const origin = (incarnation: number) => ({ partition: 0, incarnation, batches: 0 });
  await writeBatch(db, batch.slice(0, 1), origin(0));
  await verify(db);
  await writeBatch(db, batch.slice(1, 2), origin(0));
  await verify(db);
  await assert.rejects(writeBatch(db, batch.slice(2), origin(0)), untrusted);
  await assert.rejects(writeBatch(db, batch.slice(2), origin(2)), untrusted);
  assert.equal(await countEvents(db), 2);
  await verify(db, 1);
  await writeBatch(db, batch.slice(2), origin(1));
  assert.equal(await countEvents(db), batch.length);
});

test('an incarnation is higher than what run state has seen, whatever this database knows', async () => {
  const db = await migratedDatabase();
  assert.deepEqual(await readProgress(db, 0), { incarnation: 0, batches: 0 });
  assert.equal(await raiseIncarnation(db, 0, 6), 7);
  assert.equal(await raiseIncarnation(db, 0, 3), 8);
  assert.equal(await raiseIncarnation(db, 0, 8), 9);
});

test('batches are counted as they are stored, and a database with fewer than were acknowledged takes none', async () => {
  const db = await migratedDatabase();
  await verify(db);
  const [first, second, third] = recordsOf(simpleJournal());
  assert.ok(first !== undefined && second !== undefined && third !== undefined);
  const origin = { partition: 0, incarnation: 0, batches: 0 };
  assert.equal((await writeBatch(db, [first], origin)).batches, 1);
  assert.equal((await writeBatch(db, [second], { ...origin, batches: 1 })).batches, 2);
  const refused = (seen: object) => writeBatch(db, [third], { ...origin, ...seen });
  await assert.rejects(refused({ batches: 3 }), RolledBackError);
  await assert.rejects(refused({ incarnation: 1 }), RolledBackError);
  await verify(db);
  // What was read before a verification says nothing of this database.
  await assert.rejects(
    refused({ batches: 3 }),
    (error) => untrusted(error) && !(error instanceof RolledBackError),
  );
  assert.deepEqual(await readProgress(db, 0), { incarnation: 1, batches: 2 });
  assert.equal(await countEvents(db), 2);
});

test('a record that is set aside is judged by its incarnation as well', async () => {
  const db = await migratedDatabase();
  await verify(db);
  await verify(db);
  const [record] = recordsOf(simpleJournal());
  assert.ok(record !== undefined);
  const poison = { ...record, runId: `${newId('run')}\u0000` };
  await assert.rejects(writeBatch(db, [poison], { partition: 0, incarnation: 0, batches: 0 }), untrusted);
});

test('a verification waits for a batch in its transaction, and sees what it stored', async () => {
  const { writer, scheduler, onlooker } = await processes();
  await verify(scheduler);
  const joined = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const batch = writer.transaction().execute(async (tx) => {
    await joinIncarnation(tx, { partition: 0, incarnation: 0, batches: 0 });
    joined.resolve();
    await finish.promise;
    await sql`insert into run_keys (run_id, wrapped_key) values ('run_slow', 'k')`.execute(tx);
  });
  await joined.promise;
  // Others of the audit-writer do not wait for each other.
  await writeBatch(writer, recordsOf(simpleJournal()), { partition: 0, incarnation: 0, batches: 0 });
  let seen: unknown[] | null = null;
  const verification = withVerificationLock(scheduler, 0, async (tx) => {
    seen = (await sql`select * from run_keys`.execute(tx)).rows;
    return raiseIncarnation(scheduler, 0);
  });
  await somebodyWaits(onlooker);
  await sleep(50);
  assert.equal(seen, null);
  finish.resolve();
  await batch;
  assert.equal(await verification, 1);
  assert.equal((seen ?? []).length, 1);
});

test('a batch that comes during a verification waits for it, and is then refused', async () => {
  const { writer, scheduler, onlooker } = await processes();
  await verify(scheduler);
  const raised = Promise.withResolvers<void>();
  const finish = Promise.withResolvers<void>();
  const verification = withVerificationLock(scheduler, 0, async () => {
    await raiseIncarnation(scheduler, 0);
    raised.resolve();
    await finish.promise;
  });
  await raised.promise;
  const batch = writeBatch(writer, recordsOf(simpleJournal()), { partition: 0, incarnation: 0, batches: 0 });
  const refused = assert.rejects(batch, untrusted);
  await somebodyWaits(onlooker);
  finish.resolve();
  await verification;
  await refused;
  assert.equal(await countEvents(onlooker), 0);
});

test('an incarnation outlives the lock it was raised under: batches of before stay refused', async () => {
  const db = await migratedDatabase();
  await verify(db);
  await assert.rejects(
    withVerificationLock(db, 0, async (tx) => {
      await raiseIncarnation(db, 0);
      await sql`select pg_terminate_backend(pg_backend_pid())`.execute(tx);
    }),
    (error: unknown) => error instanceof SignalboxError && error.code === 'audit_store_unavailable',
  );
  await assert.rejects(
    writeBatch(db, recordsOf(simpleJournal()), { partition: 0, incarnation: 0, batches: 0 }),
    untrusted,
  );
  await writeBatch(db, recordsOf(simpleJournal()), { partition: 0, incarnation: 1, batches: 0 });
});
