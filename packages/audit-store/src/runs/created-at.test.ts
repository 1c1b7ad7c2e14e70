import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import type { RunFilter } from '@signalbox/contracts';
import { sql } from 'kysely';
import { runIdAt } from '../../test/journal.ts';
import { pagesRead, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { listRunIds } from './list-run-ids.ts';
import { listReplayable } from '../replays/replayable.ts';

const HOUR = 3_600_000;
const NEW_YEAR = Date.UTC(2020, 0, 1);

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

type Period = Pick<RunFilter, 'created_after' | 'created_before'>;

/** Both lists, which must agree. */
const list = async (from: Db, tenantId: string, period: Period): Promise<string[]> => {
  const { rows: runIds } = await listRunIds(from, {
    tenantId,
    filter: { ...period, status: 'succeeded' },
    limit: 50,
  });
  const { runs: replayable } = await listReplayable(from, {
    tenantId,
    filter: period,
    before: null,
    limit: 50,
  });
  assert.deepEqual(
    replayable.map(({ id }) => id),
    runIds,
  );
  return [...runIds];
};

const storeRun = async (tenant_id: string, id: string, createdMs: number): Promise<void> => {
  const row = {
    id,
    tenant_id,
    root_run_id: id,
    status: 'succeeded',
    created_at: new Date(createdMs),
  } as const;
  await db.insertInto('runs').values(row).execute();
};

describe('runs of a period', () => {
  test('an old one is found without a look at the runs made since', async () => {
    await sql`
      insert into runs (id, tenant_id, root_run_id, status, created_at)
      select first_run_id_at(at at time zone 'UTC') || '7', 'busy', '', 'succeeded', at
      from generate_series(${new Date(NEW_YEAR)}::timestamptz, '2026-01-01Z', '1 hour') at`.execute(db);
    await settle(db, 'runs');
    const period = { created_after: '2020-02-01T00:00:00Z', created_before: '2020-02-02T01:00:00+01:00' };
    const pages = await pagesRead(db, async (counted) => {
      const ids = await list(counted, 'busy', period);
      assert.equal(ids.length, 24);
      assert.equal(ids.at(-1), `${runIdAt(Date.UTC(2020, 1, 1)).slice(0, 16)}7`);
    });
    assert.ok(pages < 150, `${pages} pages`);
  });

  test('ends to the millisecond where it is said to, whatever id a run has by a clock nearby', async () => {
    const early = runIdAt(NEW_YEAR - HOUR / 2);
    const late = runIdAt(NEW_YEAR + HOUR / 2);
    const outside = runIdAt(NEW_YEAR + HOUR / 4);
    await storeRun('apart', early, NEW_YEAR);
    await storeRun('apart', late, NEW_YEAR);
    await storeRun('apart', outside, NEW_YEAR - 1);
    const at = (ms: number): string => new Date(NEW_YEAR + ms).toISOString();
    const of = (period: Period): Promise<string[]> => list(db, 'apart', period);
    assert.deepEqual(await of({ created_after: at(0), created_before: at(1) }), [late, early]);
    assert.deepEqual(await of({ created_after: at(1) }), []);
    assert.deepEqual(await of({ created_before: at(0) }), [outside]);
  });

  test('may begin before there were ids and end after the last of them', async () => {
    const runId = runIdAt(NEW_YEAR);
    await storeRun('ever', runId, NEW_YEAR);
    const of = (period: Period): Promise<string[]> => list(db, 'ever', period);
    for (const created_after of ['0001-01-01T00:00:00Z', '1970-01-01T00:00:00Z'])
      assert.deepEqual(await of({ created_after }), [runId]);
    assert.deepEqual(await of({ created_before: '9999-12-31T23:59:59.999Z' }), [runId]);
    assert.deepEqual(await of({ created_after: '9999-12-31T23:59:59.999Z' }), []);
    assert.deepEqual(await of({ created_before: '1969-12-31T00:00:00Z' }), []);
  });
});
