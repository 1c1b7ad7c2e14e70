import assert from 'node:assert/strict';
import { test } from 'node:test';
import { providerKeyAad } from '@signalbox/contracts';
import {
  findProviderKeys,
  listHotWrapped,
  readProviderPings,
  replaceHotWrapped,
  replaceProviderKeys,
  saveProviderPing,
  withdrawTrust,
} from '../src/index.ts';
import { freshPartition, TENANT } from './support.ts';

const keys = async (partition: Parameters<typeof findProviderKeys>[0], tenantId = TENANT) => [
  ...(await findProviderKeys(partition, tenantId)),
];

test('what a tenant has is replaced as a whole; others keep theirs', async () => {
  const partition = await freshPartition();
  await replaceProviderKeys(partition, 'other', [{ provider: 'openai', sealedKey: 'o' }]);
  await replaceProviderKeys(partition, TENANT, [
    { provider: 'openai', sealedKey: 'a' },
    { provider: 'groq', sealedKey: 'b' },
  ]);
  await replaceProviderKeys(partition, TENANT, [{ provider: 'openai', sealedKey: 'c' }]);
  assert.deepEqual(await keys(partition), [['openai', 'c']]);
  await replaceProviderKeys(partition, TENANT, []);
  assert.deepEqual([await keys(partition), await keys(partition, 'other')], [[], [['openai', 'o']]]);
});

test('that there are none is believed only of a Redis that is trusted', async () => {
  const partition = await freshPartition();
  await withdrawTrust(partition);
  await assert.rejects(findProviderKeys(partition, TENANT), { code: 'state_untrusted' });
  const away = { value: () => Promise.reject(new Error('connection is closed')) };
  const redis = Object.create(partition.redis, { hgetall: away }) as typeof partition.redis;
  await assert.rejects(findProviderKeys({ ...partition, redis }, TENANT), { code: 'state_unavailable' });
});

test('each lies wrapped for its tenant and provider, and is wrapped again where it still is what it was', async () => {
  const partition = await freshPartition();
  await replaceProviderKeys(partition, TENANT, [{ provider: 'openai', sealedKey: 'old' }]);
  const found = [];
  for await (const page of listHotWrapped(partition)) found.push(...page);
  assert.deepEqual(
    found.map(({ aad, field, wrapped }) => [aad, field, wrapped]),
    [[providerKeyAad(TENANT, 'openai'), 'openai', 'old']],
  );
  const next = found.map((item) => ({ ...item, next: 'new' }));
  assert.equal(await replaceHotWrapped(partition, next), 1);
  assert.equal(await replaceHotWrapped(partition, next), 0);
  assert.deepEqual(await keys(partition), [['openai', 'new']]);
});

test('of the pings of a provider the last is kept', async () => {
  const partition = await freshPartition();
  const ping = { at: '2026-01-01T00:00:00Z', ok: false, ms: 7, error: 'no', keyId: 'pk_1' };
  const ref = { tenantId: TENANT, provider: 'openai' };
  await saveProviderPing(partition, ref, ping);
  await saveProviderPing(partition, ref, { ...ping, ok: true, error: null });
  await saveProviderPing(partition, { ...ref, provider: 'groq' }, ping);
  const pings = await readProviderPings(partition, TENANT);
  assert.deepEqual([pings.size, pings.get('openai')?.ok, pings.get('groq')?.ok], [2, true, false]);
  assert.equal((await readProviderPings(partition, 'other')).size, 0);
});
