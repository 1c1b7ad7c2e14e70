import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import { migratedDatabase } from '../../test/support.ts';
import { getAgent, listAgents, publishAgentVersion } from './agents.ts';
import { findApiKeyByHash, upsertApiKey } from '../keys/api-keys.ts';
import type { Db } from '../db/pool.ts';
import { ensureTenant } from './tenants.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
  await ensureTenant(db, { id: 'acme', partition: 2, timeZone: 'Europe/Berlin' });
  await ensureTenant(db, { id: 'other', partition: 0, timeZone: 'UTC' });
});

test('a tenant keeps what it was made with, however often and at once it is ensured', async () => {
  const made = await Promise.all(
    [5, 5, 5].map((partition) => ensureTenant(db, { id: 'new', partition, timeZone: 'UTC' })),
  );
  assert.deepEqual(
    made,
    [5, 5, 5].map((partition) => ({ id: 'new', partition, timeZone: 'UTC' })),
  );
  const again = await ensureTenant(db, { id: 'acme', partition: 7, timeZone: 'UTC' });
  assert.deepEqual(again, { id: 'acme', partition: 2, timeZone: 'Europe/Berlin' });
});

describe('API keys', () => {
  const hash = 'ab'.repeat(32);
  const key = {
    id: 'key_1',
    tenantId: 'acme',
    name: 'bootstrap',
    hash,
    scopes: ['admin'],
    expiresAt: null,
  } as const;

  test('found by hash, with the partition of the tenant', async () => {
    await upsertApiKey(db, key);
    const { createdAt, ...found } = (await findApiKeyByHash(db, hash)) ?? assert.fail('not found');
    assert.deepEqual(found, { ...key, partition: 2, revokedAt: null });
    assert.ok(createdAt instanceof Date);
    assert.equal(await findApiKeyByHash(db, 'cd'.repeat(32)), null);
  });

  test('the same value again keeps its id, takes new scopes, and stays revoked', async () => {
    await upsertApiKey(db, key);
    await db.updateTable('api_keys').set({ revoked_at: new Date() }).where('hash', '=', hash).execute();
    const again = await upsertApiKey(db, { ...key, id: 'key_2', scopes: ['runs:read', 'runs:write'] });
    assert.deepEqual([again.id, again.scopes], ['key_1', ['runs:read', 'runs:write']]);
    assert.ok(again.revokedAt !== null);
  });

  test("another tenant's value is refused and stays theirs", async () => {
    await upsertApiKey(db, key);
    await assert.rejects(
      upsertApiKey(db, { ...key, id: 'key_3', tenantId: 'other' }),
      (error) => error instanceof SignalboxError && error.code === 'invalid_request',
    );
    assert.equal((await findApiKeyByHash(db, hash))?.tenantId, 'acme');
  });
});

describe('agents', () => {
  const version = (name: string, content: string) => ({
    tenantId: 'acme',
    name,
    digest: `digest of ${content}`,
    sealedSpec: content,
  });

  test('the same content is the same version, another content the next', async () => {
    const made = [];
    for (const content of ['a', 'b', 'a', 'c', 'b'])
      made.push(await publishAgentVersion(db, version('support', content)));
    assert.deepEqual(
      made.map((m) => [m.version, m.created, m.sealedSpec]),
      [
        [1, true, 'a'],
        [2, true, 'b'],
        [1, false, 'a'],
        [3, true, 'c'],
        [2, false, 'b'],
      ],
    );
    const get = (wanted?: number) => getAgent(db, { tenantId: 'acme', name: 'support', version: wanted });
    assert.equal((await get())?.sealedSpec, 'c');
    assert.equal((await get(1))?.sealedSpec, 'a');
    assert.equal(await get(4), null);
    assert.equal(await getAgent(db, { tenantId: 'other', name: 'support' }), null);
  });

  test('published at the same time: no number twice, none left out', async () => {
    const contents = ['w', 'x', 'y', 'z', 'w', 'x', 'y', 'z'];
    const made = await Promise.all(
      contents.map((content) => publishAgentVersion(db, version('busy', content))),
    );
    assert.deepEqual(
      made
        .filter((m) => m.created)
        .map((m) => m.version)
        .toSorted((a, b) => a - b),
      [1, 2, 3, 4],
    );
    for (const content of ['w', 'x', 'y', 'z']) {
      assert.equal(new Set(made.filter((m) => m.sealedSpec === content).map((m) => m.version)).size, 1);
    }
  });

  describe('a tenant may have a thousand of them', () => {
    /** Made without publishing each. */
    const fill = (tenantId: string, count: number) =>
      sql`insert into agents (tenant_id, name)
        select ${tenantId}, 'filler-' || i from generate_series(1, ${count}::int) i`.execute(db);
    const full = (error: unknown) => error instanceof SignalboxError && error.code === 'quota_exceeded';
    const namesOf = async (tenantId: string) =>
      (await db.selectFrom('agents').select('name').where('tenant_id', '=', tenantId).execute()).map(
        ({ name }) => name,
      );

    test('one more is refused and leaves nothing, a version of one there is goes on', async () => {
      await ensureTenant(db, { id: 'full', partition: 0, timeZone: 'UTC' });
      await fill('full', 999);
      const publish = (name: string, content: string) =>
        publishAgentVersion(db, { ...version(name, content), tenantId: 'full' });
      assert.equal((await publish('last', '1')).version, 1);
      await assert.rejects(publish('more', '1'), full);
      assert.equal((await publish('last', '2')).version, 2);
      const names = await namesOf('full');
      assert.deepEqual([names.length, names.includes('more')], [1000, false]);
      assert.equal(await getAgent(db, { tenantId: 'full', name: 'more' }), null);
    });

    const isWaiting = async (): Promise<boolean> => {
      const { rows } = await sql<{ waiting: boolean }>`
        select exists (select from pg_locks join pg_database d on d.oid = pg_locks.database
          where locktype = 'advisory' and not granted and d.datname = current_database()) as waiting`.execute(
        db,
      );
      return rows[0]?.waiting === true;
    };

    test('two that are made at once do not both take the last place', async () => {
      await ensureTenant(db, { id: 'rush', partition: 0, timeZone: 'UTC' });
      await fill('rush', 999);
      const publish = (name: string, watch?: () => Promise<void>) =>
        publishAgentVersion(db, { ...version(name, '1'), tenantId: 'rush' }, watch);
      const ends: Promise<unknown>[] = [];
      await publish('first', async () => {
        const its = { ended: false };
        const second = publish('second').finally(() => {
          its.ended = true;
        });
        ends.push(assert.rejects(second, full));
        while (!its.ended && !(await isWaiting()));
      });
      await Promise.all(ends);
      assert.equal((await namesOf('rush')).length, 1000);
    });
  });

  test('the list has the latest of each, by name, page by page', async () => {
    for (const name of ['b', 'a-1', 'a'])
      await publishAgentVersion(db, { ...version(name, '1'), tenantId: 'other' });
    await publishAgentVersion(db, { ...version('a', '2'), tenantId: 'other' });
    const list = async (limit: number, after?: string) =>
      (await listAgents(db, { tenantId: 'other', limit, after })).rows.map(
        ({ name, version: v }) => `${name}@${v}`,
      );
    assert.deepEqual(await list(10), ['a@2', 'a-1@1', 'b@1']);
    assert.deepEqual(await list(2), ['a@2', 'a-1@1']);
    assert.deepEqual(await list(2, 'a-1'), ['b@1']);
  });
});
