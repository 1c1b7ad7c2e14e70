/**
 * Two writers at once: one that lost its lease and does not know it yet, and its successor. Their batches overlap, are
 * in another order, and some are rolled back. What is stored must be what one writer would have stored (R5, R8).
 */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type AuditRecord, newId, SignalboxError } from '@signalbox/contracts';
import { until } from '@signalbox/local';
import fc from 'fast-check';
import { sql } from 'kysely';
import { journalOf, recordOf, recordsOf, simpleJournal, submitted } from '../../test/journal.ts';
import {
  actualDays,
  actualRun,
  commitsOf,
  deal,
  expectedDays,
  expectedRun,
  journalOfPlan,
  plan,
} from '../../test/plans.ts';
import { connect, emptyDatabase } from '../../test/support.ts';
import { migrate } from '../migrate.ts';
import type { Db } from '../db/pool.ts';
import type { WriteResult } from './batch-transaction.ts';
import { writeBatch } from './write-batch.ts';

const WRITERS = 3;

let url: string;
let db: Db;
before(async () => {
  url = await emptyDatabase();
  await migrate(url);
  db = connect(url);
});

const LOST = new Error('the connection broke before the commit');

type Begin = ReturnType<Db['transaction']>;

/** A pool whose transactions, when `fails` says so, do all of their work and are rolled back then. */
const failing = (pool: Db, fails: () => boolean): Db => {
  const begin = (transaction: Begin): Begin =>
    new Proxy(transaction, {
      get: (target, name) => {
        if (name === 'setIsolationLevel') {
          return (level: Parameters<Begin['setIsolationLevel']>[0]) => begin(target.setIsolationLevel(level));
        }
        if (name !== 'execute') return Reflect.get(target, name, target) as unknown;
        return (work: (tx: Db) => Promise<unknown>) =>
          target.execute(async (tx) => {
            const result = await work(tx);
            if (fails()) throw LOST;
            return result;
          });
      },
    });
  return new Proxy(pool, {
    get: (target, name) =>
      name === 'transaction'
        ? () => begin(target.transaction())
        : (Reflect.get(target, name, target) as unknown),
  });
};

/** As the drain does it: the same batch again until it is stored. */
const persist = async (pool: Db, batch: readonly AuditRecord[]): Promise<WriteResult> => {
  for (;;) {
    try {
      return await writeBatch(pool, batch);
    } catch (error) {
      const passes = error instanceof SignalboxError && error.code === 'audit_store_unavailable';
      if (error !== LOST && !passes) throw error;
    }
  }
};

test('overlapping and interleaved batches of three writers, some rolled back, make one set of books', async () => {
  let rolledBack = 0;
  const pools = Array.from({ length: WRITERS }, () => connect(url));
  await fc.assert(
    fc.asyncProperty(
      fc.array(plan, { minLength: 2, maxLength: 4 }),
      fc.array(fc.array(fc.nat(1000), { minLength: 5, maxLength: 20 }), {
        minLength: WRITERS,
        maxLength: WRITERS,
      }),
      async (plans, seeds) => {
        await sql`truncate daily_costs, cost_ledger`.execute(db);
        const journals = plans.map(journalOfPlan);
        const records = journals.flatMap((journal, index) => commitsOf(journal, plans[index]?.user ?? false));
        let turn = 0;
        const fails = (): boolean => {
          turn += 1;
          const now = (turn + (seeds[0]?.[turn % 5] ?? 0)) % 4 === 0;
          if (now) rolledBack += 1;
          return now;
        };
        const writer = async (pool: Db, own: readonly number[]): Promise<WriteResult[]> => {
          const results: WriteResult[] = [];
          for (const batch of deal(records, own)) results.push(await persist(failing(pool, fails), batch));
          return results;
        };
        const results = (await Promise.all(pools.map((pool, i) => writer(pool, seeds[i] ?? [])))).flat();

        assert.deepEqual(
          results.flatMap(({ quarantined }) => quarantined),
          [],
          'a neighbour was taken for a fork',
        );
        assert.equal(
          results.reduce((sum, { inserted }) => sum + inserted, 0),
          journals.reduce((sum, { events }) => sum + events.length, 0),
        );
        for (const journal of journals) {
          assert.deepEqual(await actualRun(db, journal.runId), expectedRun(journal));
          const rows = await db
            .selectFrom('audit_events')
            .select(['seq', 'hash', 'body'])
            .where('run_id', '=', journal.runId)
            .orderBy('seq')
            .execute();
          assert.deepEqual(
            rows.map(({ hash, body }) => `${hash}${body}`),
            journal.entries,
          );
        }
        assert.deepEqual(await actualDays(db), expectedDays(journals));
      },
    ),
    { numRuns: 15 },
  );
  assert.ok(rolledBack > 0, 'nothing was rolled back');
});

test('what one writer rolls back the other, who waited for it, stores', async () => {
  const journal = simpleJournal();
  const working = Promise.withResolvers<void>();
  const broken = Promise.withResolvers<void>();
  const first = db.transaction().execute(async (tx) => {
    await sql`insert into runs (id, tenant_id, root_run_id, created_at)
      values (${journal.runId}, 'acme', ${journal.runId}, now())`.execute(tx);
    working.resolve();
    await broken.promise;
    throw LOST;
  });
  await working.promise;
  const second = writeBatch(db, recordsOf(journal));
  broken.resolve();
  await assert.rejects(first, LOST);
  assert.equal((await second).inserted, journal.entries.length);
});

test('a deadlock is no reason to give a batch up: it is stored at the next attempt', async () => {
  const [a, b] = [newId('run'), newId('run')].toSorted();
  assert.ok(a !== undefined && b !== undefined);
  const journals = [a, b].map((id) => journalOf(id, [submitted()]));
  const batch = journals.flatMap(recordsOf);
  for (const id of [a, b])
    await writeBatch(db, [recordOf(id, [`${'f'.repeat(64)}{"seq":9,"run_id":"${id}"}`])]);
  const lock = (tx: Db, id: string) => sql`select id from runs where id = ${id} for update`.execute(tx);
  const locked = Promise.withResolvers<void>();
  const waiting = Promise.withResolvers<void>();
  // Someone who locks runs in the other order, and is not the one who finds the deadlock.
  const other = db.transaction().execute(async (tx) => {
    await sql`set local deadlock_timeout = '60s'`.execute(tx);
    await lock(tx, b);
    locked.resolve();
    await waiting.promise;
    await lock(tx, a);
  });
  await locked.promise;
  const refused = writeBatch(db, batch);
  const observer = connect(url);
  await until('the writer to wait for the lock', async () => {
    const { rows } = await sql`select from pg_stat_activity where datname = current_database()
        and wait_event_type = 'Lock' and query like '%for update%'`.execute(observer);
    return rows.length > 0;
  });
  waiting.resolve();
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof SignalboxError);
    assert.equal(error.code, 'audit_store_unavailable');
    assert.match(error.message, /deadlock/);
    return true;
  });
  await other;
  assert.equal((await writeBatch(db, batch)).inserted, 2);
});

test('a database that isolates more by default changes nothing', async () => {
  const strictUrl = await emptyDatabase();
  await migrate(strictUrl);
  const name = new URL(strictUrl).pathname.slice(1);
  await sql`alter database ${sql.id(name)} set default_transaction_isolation = 'repeatable read'`.execute(db);
  const strict = connect(strictUrl);
  const journals = Array.from({ length: 5 }, () => simpleJournal());
  const records = journals.flatMap(recordsOf);
  const results = await Promise.all([writeBatch(strict, records), writeBatch(strict, records.toReversed())]);
  assert.equal(
    results.reduce((sum, { inserted }) => sum + inserted, 0),
    records.length,
  );
  assert.deepEqual(
    results.flatMap(({ quarantined }) => quarantined),
    [],
  );
});
