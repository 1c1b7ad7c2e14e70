import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { claimed, journalOf, recordOf, runIdAt, submitted, succeeded } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
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
  const list = (
    filter: RunListQuery['filter'] = {},
    page: Partial<Pick<RunListQuery, 'limit' | 'before'>> = {},
  ) => listRunIds(db, { tenantId, limit: 100, filter, ...page });

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
