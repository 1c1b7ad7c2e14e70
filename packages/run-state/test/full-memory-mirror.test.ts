/** A Redis at its maxmemory, which refuses MULTI and plain writes: what an operator stops is stopped. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ensureTenantCaps,
  findAgent,
  findPrincipal,
  findProviderKeys,
  getTenantCaps,
  getUserCaps,
  mirrorAgent,
  mirrorApiKey,
  type Partition,
  readProviderPings,
  replaceCaps,
  replaceProviderKeys,
  saveProviderPing,
  setTenantCaps,
  setUserCaps,
  submitRun,
} from '../src/index.ts';
import { FULL, fillablePartition, fillTo } from './full-redis.ts';
import { code, makeSubmission, TENANT } from './support.ts';

/** Still full after what was tested, or it tested nothing. */
const assertFull = async (partition: Partition): Promise<void> => {
  await assert.rejects(
    submitRun(partition, makeSubmission().submission, { backlogLimit: 1000 }),
    code('state_unavailable'),
  );
  await assert.rejects(partition.redis.set(`${partition.root}:more`, 'x'), /^ReplyError: OOM/);
};

const AMOUNTS = { runNano: 100, userDailyNano: 100, tenantDailyNano: 100, timeZone: 'UTC' };

test('a full Redis: caps are lowered, called off, begun with and put back', async () => {
  const partition = await fillablePartition();
  const user = { tenantId: TENANT, userId: 'u1' };
  await setTenantCaps(partition, TENANT, {
    ...AMOUNTS,
    nextTimeZone: { timeZone: 'Asia/Tokyo', fromMs: 9e15 },
  });
  await setUserCaps(partition, user, { dailyNano: 100, runNano: 100 });
  await fillTo(partition, FULL);

  await setTenantCaps(partition, TENANT, { tenantDailyNano: 10, maxRuns: 0, nextTimeZone: null });
  const { tenantDailyNano, userDailyNano, maxRuns, nextTimeZone } = await getTenantCaps(partition, TENANT);
  assert.deepEqual([tenantDailyNano, userDailyNano, maxRuns, nextTimeZone], [10, 100, 0, null]);
  await setUserCaps(partition, user, { dailyNano: 5 });
  assert.deepEqual(await getUserCaps(partition, user), {
    dailyNano: 5,
    monthlyNano: undefined,
    runNano: undefined,
  });
  await ensureTenantCaps(partition, 'new', AMOUNTS);
  assert.equal((await getTenantCaps(partition, 'new')).runNano, 100);
  await replaceCaps(partition, TENANT, { ...AMOUNTS, runNano: 1, users: [{ userId: 'u1', runNano: 2 }] });
  assert.equal((await getTenantCaps(partition, TENANT)).runNano, 1);
  assert.equal((await getUserCaps(partition, user)).runNano, 2);
  await assertFull(partition);
});

test('a full Redis: an API key is revoked, made, and not made valid again', async () => {
  const partition = await fillablePartition();
  const key = { keyId: 'key_1', tenantId: TENANT, scopes: ['admin' as const], expiresAt: null };
  await mirrorApiKey(partition, 'hash', key);
  await fillTo(partition, FULL);

  await mirrorApiKey(partition, 'hash', { ...key, scopes: [], revoked: true });
  await mirrorApiKey(partition, 'hash', key);
  assert.deepEqual(await findPrincipal(partition, 'hash', 0), {
    refused: 'revoked_key',
    owner: { tenantId: TENANT, keyId: 'key_1' },
  });
  await mirrorApiKey(partition, 'other', { ...key, keyId: 'key_2' });
  const { keyId, tenantId, scopes } = { ...key, keyId: 'key_2' };
  const principal = { keyId, tenantId, partition: partition.index, scopes };
  assert.deepEqual(await findPrincipal(partition, 'other', 0), principal);
  await assertFull(partition);
});

test('a full Redis: provider keys are removed and changed, and how they were tried is kept', async () => {
  const partition = await fillablePartition();
  await replaceProviderKeys(partition, TENANT, [
    { provider: 'openai', sealedKey: 'a' },
    { provider: 'groq', sealedKey: 'b' },
  ]);
  await fillTo(partition, FULL);

  await replaceProviderKeys(partition, TENANT, [{ provider: 'openai', sealedKey: 'c' }]);
  assert.deepEqual([...(await findProviderKeys(partition, TENANT))], [['openai', 'c']]);
  await replaceProviderKeys(partition, TENANT, []);
  assert.equal((await findProviderKeys(partition, TENANT)).size, 0);
  const ping = { at: '2026-01-01T00:00:00Z', ok: false, ms: 7, error: 'no', keyId: null };
  await saveProviderPing(partition, { tenantId: TENANT, provider: 'openai' }, ping);
  assert.equal((await readProviderPings(partition, TENANT)).get('openai')?.error, 'no');
  await assertFull(partition);
});

test('a full Redis: agent versions are mirrored, as a verification does with all of them', async () => {
  const partition = await fillablePartition();
  await fillTo(partition, FULL);
  const agent = { tenantId: TENANT, name: 'support' };
  await mirrorAgent(partition, { ...agent, version: 3, sealedSpec: 'sealed' });
  assert.deepEqual(await findAgent(partition, { ...agent, version: null }), {
    version: 3,
    sealedSpec: 'sealed',
  });
  await assertFull(partition);
});
