import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { sql } from 'kysely';
import { pagesRead, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import { listCheckpointHeads, readCheckpointHead } from './checkpoint-heads.ts';
import type { Db } from '../db/pool.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

/** So many checkpoints of a tenant; only where they stand matters. */
const storeCheckpoints = async (tenantId: string, count: number): Promise<void> => {
  await sql`
    insert into checkpoints (tenant_id, n, ts, prev, root, chains, key_id, public_key, hash, signature)
    select ${tenantId}, n, now(), '', '', 1, '', '', '', '' from generate_series(1, ${count}::int) n`.execute(
    db,
  );
};

test('where each tenant stands is read from its end, however many checkpoints there are', async () => {
  assert.deepEqual(await listCheckpointHeads(db), new Map());
  const counts = [
    ['', 1],
    ['Zoo', 2],
    ['acme', 50_000],
    ['beta', 1],
    ['gamma', 50_000],
  ] as const;
  for (const [tenantId, count] of counts) await storeCheckpoints(tenantId, count);
  await settle(db, 'checkpoints');
  const pages = await pagesRead(db, async (counted) => {
    assert.deepEqual(await listCheckpointHeads(counted), new Map(counts));
  });
  assert.ok(pages < 100, `${pages} pages`);
  assert.deepEqual([await readCheckpointHead(db, 'acme'), await readCheckpointHead(db, 'none')], [50_000, 0]);
});
