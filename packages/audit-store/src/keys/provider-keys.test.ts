import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { sql } from 'kysely';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import {
  deleteProviderKey,
  listProviderKeys,
  readProviderKeys,
  saveProviderKey,
  type StoredProviderKey,
} from './provider-keys.ts';
import { ensureTenant } from '../tenants/tenants.ts';
import { rewrapProviderKeys } from './wrapped.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
  for (const id of ['acme', 'other']) await ensureTenant(db, { id, partition: 0, timeZone: 'UTC' });
});

const key = (tenantId: string, sealedKey: string): StoredProviderKey & { setBy: string } => ({
  tenantId,
  provider: 'openai',
  keyId: `id of ${sealedKey}`,
  sealedKey,
  setBy: 'key_1',
});
const quiet = async (): Promise<void> => undefined;

test('who changes a key is told what was there before, and may refuse: then nothing is changed', async () => {
  const seen: (string | undefined)[] = [];
  const watch = async (found: StoredProviderKey | null): Promise<void> => void seen.push(found?.sealedKey);
  await saveProviderKey(db, key('acme', 'a'), watch);
  await saveProviderKey(db, key('acme', 'b'), watch);
  await saveProviderKey(db, key('other', 'c'), watch);
  const refuse = (): Promise<void> => Promise.reject(new Error('not written down'));
  await assert.rejects(saveProviderKey(db, key('acme', 'd'), refuse), /not written down/);
  await assert.rejects(deleteProviderKey(db, key('acme', ''), refuse), /not written down/);
  const { setBy: _, ...stored } = key('acme', 'b');
  assert.deepEqual(await readProviderKeys(db, 'acme'), [stored]);
  await deleteProviderKey(db, key('acme', ''), watch);
  await deleteProviderKey(db, key('acme', ''), watch);
  assert.deepEqual(seen, [undefined, 'a', undefined, 'b', undefined]);
  assert.deepEqual(
    (await listProviderKeys(db)).map(({ tenantId }) => tenantId),
    ['other'],
  );
});

test('the scheduler may wrap keys again, and neither set nor remove one; the writer sees none', async () => {
  await saveProviderKey(db, key('acme', 'k1.a'), quiet);
  const as = <T>(role: string, work: (tx: Db) => Promise<T>): Promise<T> =>
    db.transaction().execute(async (tx) => {
      await sql`set local role ${sql.id(role)}`.execute(tx);
      return work(tx);
    });
  const items = [{ tenantId: 'acme', provider: 'openai', wrapped: 'k1.a', next: 'k2.a' }];
  assert.equal(await as('signalbox_scheduler', (tx) => rewrapProviderKeys(tx, items)), 1);
  assert.equal(await as('signalbox_scheduler', (tx) => rewrapProviderKeys(tx, items)), 0);
  const denied = /permission denied/;
  for (const [role, statement] of [
    ['signalbox_scheduler', sql`delete from provider_keys`],
    ['signalbox_scheduler', sql`update provider_keys set key_id = 'x'`],
    ['signalbox_writer', sql`select * from provider_keys`],
  ] as const)
    await assert.rejects(
      as(role, (tx) => statement.execute(tx)),
      denied,
    );
  assert.deepEqual(
    (await readProviderKeys(db, 'acme')).map(({ sealedKey }) => sealedKey),
    ['k2.a'],
  );
});
