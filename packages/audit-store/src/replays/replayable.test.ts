import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { sql } from 'kysely';
import { pagesRead, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { listReplayable } from './replayable.ts';

const RUNS = 60_000;
const idOf = (n: number): string => `run_${String(n).padStart(32, '0')}`;

let db: Db;
before(async () => {
  db = await migratedDatabase();
  // The first is of a rare model; each thousandth is of a session of its own.
  await sql`
    insert into runs (id, tenant_id, root_run_id, status, created_at, model, agent, session_id)
    select 'run_' || lpad(n::text, 32, '0'), 'busy', '', 'succeeded', now(),
      case n when 1 then 'mock/rare' else 'mock/echo' end, 'support',
      case n % 1000 when 0 then 'few' end
    from generate_series(1, ${RUNS}::int) n`.execute(db);
  await settle(db, 'runs');
});

const of = (filter: object, place: string | null = null, from: Db = db) =>
  listReplayable(from, { tenantId: 'busy', filter, before: place, limit: 100 });

test('a look for what is rare goes through so many runs and no more, and the next goes on behind it', async () => {
  for (const filter of [
    { model: 'mock/rare' },
    { model: 'mock/rare', agent: 'support', status: 'succeeded' },
  ]) {
    const pages = await pagesRead(db, async (counted) => {
      assert.deepEqual(await of(filter, null, counted), { runs: [], lookedTo: idOf(RUNS - 19_999) });
    });
    assert.ok(pages < 6000, `${pages} pages`);
    const places: (string | null)[] = [];
    let found = await of(filter);
    for (; found.lookedTo !== null; found = await of(filter, found.lookedTo)) places.push(found.lookedTo);
    assert.deepEqual(places, [idOf(40_001), idOf(20_001), idOf(1)]);
  }
});

test('the run at the end of a look is in it', async () => {
  const { runs, lookedTo } = await of({ model: 'mock/rare' }, idOf(20_001));
  assert.deepEqual([runs.map(({ id }) => id), lookedTo], [[idOf(1)], idOf(1)]);
});

test('what an index finds is looked for through it, however many others there are', async () => {
  const pages = await pagesRead(db, async (counted) => {
    const { runs, lookedTo } = await of({ session_id: 'few', agent: 'support' }, null, counted);
    assert.deepEqual([runs.length, lookedTo], [60, null]);
  });
  assert.ok(pages < 600, `${pages} pages`);
});
