import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { sql } from 'kysely';
import { claimed, journalOf, recordOf, runIdAt, submitted, succeeded } from '../../test/journal.ts';
import { pagesByStatement, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Page } from '../db/pages.ts';
import { listRunIds, type RunListQuery } from './list-run-ids.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

describe('listRunIds', () => {
  const tenantId = 'lister';
  const ids: string[] = [];

  before(async () => {
    for (const n of [0, 1, 2, 3, 4, 5]) {
      const createdMs = Date.UTC(2030, 0, 1 + n);
      const runId = runIdAt(createdMs);
      ids.push(runId);
      const drafts = [
        submitted({
          tenant_id: tenantId,
          user_id: n % 2 === 0 ? 'even' : 'odd',
          session_id: n < 3 ? 'early' : null,
          agent: n === 5 ? { name: null, version: null } : { name: 'support', version: 1 },
        }),
        claimed(),
      ];
      const { entries } = journalOf(runId, n < 2 ? [...drafts, succeeded(0)] : drafts, createdMs);
      await writeBatch(db, [recordOf(runId, entries, { tenantId })]);
    }
  });

  const at = (...wanted: number[]) => wanted.map((n) => ids[n]);
  const list = async (
    filter: RunListQuery['filter'] = {},
    page: Partial<Pick<RunListQuery, 'limit' | 'before'>> = {},
  ) => (await listRunIds(db, { tenantId, limit: 100, filter, ...page })).rows;

  test('newest first, page by page', async () => {
    assert.deepEqual(await list(), at(5, 4, 3, 2, 1, 0));
    assert.deepEqual(await list({}, { limit: 2 }), at(5, 4));
    assert.deepEqual(await list({}, { limit: 2, before: ids[4] }), at(3, 2));
    assert.deepEqual(await list({}, { before: ids[0] }), []);
  });

  test('each filter, and all of them', async () => {
    assert.deepEqual(await list({ status: 'succeeded' }), at(1, 0));
    assert.deepEqual(await list({ status: 'running' }), at(5, 4, 3, 2));
    assert.deepEqual(await list({ agent: 'support' }), at(4, 3, 2, 1, 0));
    assert.deepEqual(await list({ user_id: 'odd' }), at(5, 3, 1));
    assert.deepEqual(await list({ session_id: 'early' }), at(2, 1, 0));
    assert.deepEqual(await list({ created_after: '2030-01-03T00:00:00Z' }), at(5, 4, 3, 2));
    assert.deepEqual(await list({ created_before: '2030-01-03T00:00:00Z' }), at(1, 0));
    const all = { status: 'running', agent: 'support', user_id: 'even', session_id: 'early' } as const;
    assert.deepEqual(await list(all), at(2));
    assert.deepEqual(await list({ user_id: 'nobody\u0000' }), []);
  });
});

describe('a search for what no index holds', () => {
  const tenantId = 'busy';
  const RUNS = 10_000;
  const idOf = (n: number): string => `run_${String(n).padStart(32, '0')}`;

  // Half are of a user and an agent, half of others; the first is of the one's user and the other's agent.
  before(async () => {
    await sql`
      insert into runs (id, tenant_id, root_run_id, status, created_at, user_id, agent)
      select 'run_' || lpad(n::text, 32, '0'), ${tenantId}, '', case n % 1000 when 0 then 'failed' else 'succeeded' end,
        now(), 'u' || n % 2, 'a' || case n when 1 then 0 else n % 2 end
      from generate_series(1, ${RUNS}::int) n`.execute(db);
    await settle(db, 'runs');
  });

  const page = (
    filter: RunListQuery['filter'],
    { from = db, before, mostLookedAt = 500 }: { from?: Db; before?: string; mostLookedAt?: number } = {},
  ): Promise<Page<string, string>> =>
    listRunIds(from, { tenantId, filter, limit: 3, before }, { mostLookedAt });

  const search = async (
    filter: RunListQuery['filter'],
    mostLookedAt: number,
  ): Promise<[string[], number]> => {
    const runIds: string[] = [];
    let before: string | undefined;
    for (let pages = 1; ; pages += 1) {
      const found = await page(filter, { mostLookedAt, ...(before === undefined ? {} : { before }) });
      runIds.push(...found.rows);
      if (found.next === null) return [runIds, pages];
      before = found.next;
    }
  };

  test('finds in short looks what one long look finds, in its order', async () => {
    for (const filter of [
      { user_id: 'u1', agent: 'a0' },
      { user_id: 'u0', status: 'failed' as const },
      { user_id: 'u0', agent: 'a0', created_before: new Date(Date.now() + 1000).toISOString() },
    ]) {
      const [whole] = await search({ ...filter }, RUNS + 1);
      const [short, pages] = await search({ ...filter }, 500);
      assert.ok(whole.length > 0 && pages > 2);
      assert.deepEqual(short, whole);
    }
  });

  test('goes through so many runs and no more', async () => {
    assert.deepEqual(await page({ user_id: 'u1', agent: 'a0' }), { rows: [], next: idOf(RUNS - 999) });
    const filter = { user_id: 'u1', agent: 'a0' };
    const dearest = async (mostLookedAt: number): Promise<number> =>
      Math.max(...(await pagesByStatement(db, (from) => page(filter, { from, mostLookedAt }))));
    const [short, long] = [await dearest(100), await dearest(RUNS)];
    assert.ok(short * 5 < long, `${short} of ${long} pages`);
  });

  test('goes to the end by what is rare, whichever that is', async () => {
    assert.deepEqual(await page({ user_id: 'u1', agent: 'a1', status: 'failed' }), { rows: [], next: null });
  });
});
