import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  countWrapped,
  type Db,
  ensureTenant,
  endReplay,
  claimReplay,
  eraseRunContents,
  insertReplay,
  publishAgentVersion,
  readProviderKeys,
  replaceRunKeys,
  saveProviderKey,
} from '@signalbox/audit-store';
import { agentAad, newId, providerKeyAad, replayAad } from '@signalbox/contracts';
import { eraseHot, findProviderKeys, mirrorAgent, replaceProviderKeys, runKey } from '@signalbox/run-state';
import {
  createKeyring,
  type Keyring,
  newDataKey,
  openText,
  seal,
  sealText,
  systemClock,
} from '@signalbox/runtime';
import { submit } from '../../../../packages/run-state/test/support.ts';
import { finish, type Loss, openLoss, own, store, TENANT, untrusted } from '../../test/loss.ts';
import { type Rotation, rotateKeys } from './key-rotation.ts';

const [K1, K2] = [
  { id: 'k1', key: newDataKey() },
  { id: 'k2', key: newDataKey() },
];
const before = createKeyring([K1]);
const both = createKeyring([K2, K1]);
const after = createKeyring([K2]);

const submitUnder = async ({ partition }: Loss, keyring: Keyring): Promise<{ id: string; key: Buffer }> => {
  const [id, key] = [newId('run'), newDataKey()];
  await submit(partition, { runId: id, wrappedKey: keyring.wrap(key, id) });
  return { id, key };
};

const rotate = ({ db, partition }: Loss, keyring = both): Promise<Rotation> =>
  rotateKeys({ db, partition, keyring, clock: systemClock, patienceMs: 0 });

const hotKey = ({ partition }: Loss, id: string): Promise<string | null> =>
  partition.redis.hget(runKey(partition, id), 'key');
const storedKey = async ({ db }: Loss, id: string): Promise<string | undefined> =>
  (await db.selectFrom('run_keys').select('wrapped_key').where('run_id', '=', id).executeTakeFirst())
    ?.wrapped_key;

test('every key and spec is wrapped by the first key, wherever it lies, and opens the same', async () => {
  const loss = await openLoss();
  const { db, partition } = loss;
  const [ended, open] = [await submitUnder(loss, before), await submitUnder(loss, before)];
  await finish(await own(loss, ended.id), 0);
  await own(loss, open.id);
  await store(loss);
  const place = agentAad(TENANT, 'helper');
  const specKey = newDataKey();
  const sealedSpec = `${before.wrap(specKey, place)}.${seal(specKey, '{}', place).toString('base64')}`;
  await ensureTenant(db, { id: TENANT, partition: 0, timeZone: 'UTC' });
  const agent = { tenantId: TENANT, name: 'helper', sealedSpec };
  const { version } = await publishAgentVersion(db, { ...agent, digest: 'd' });
  await mirrorAgent(partition, { ...agent, version });
  const ownKey = sealText(before, 'the key of acme', providerKeyAad(TENANT, 'openai'));
  const stored = { tenantId: TENANT, provider: 'openai', keyId: 'pk_1', sealedKey: ownKey };
  await saveProviderKey(db, { ...stored, setBy: 'key_a' }, async () => undefined);
  await replaceProviderKeys(partition, TENANT, [stored]);
  const streamed = await submitUnder(loss, before);

  const first = await rotate(loss);
  assert.deepEqual([first.runKeys, first.agentVersions, first.providerKeys, first.hot], [2, 1, 1, 5]);
  assert.deepEqual([...first.left], [['k1', 1]], 'one is in the audit stream still');
  await store(loss);
  const second = await rotate(loss);
  assert.deepEqual([second.runKeys, second.agentVersions, second.hot], [1, 0, 0]);
  assert.deepEqual([...second.left, ...second.unreadable], []);
  const third = await rotate(loss);
  assert.deepEqual([third.runKeys, third.agentVersions, third.hot], [0, 0, 0]);

  for (const { id, key } of [ended, open, streamed]) {
    assert.deepEqual(after.unwrap((await hotKey(loss, id)) ?? '', id), key);
    assert.deepEqual(after.unwrap((await storedKey(loss, id)) ?? '', id), key);
  }
  const { sealed_spec } = await db
    .selectFrom('agent_versions')
    .select('sealed_spec')
    .executeTakeFirstOrThrow();
  const mirrored = await partition.redis.hget(`${partition.root}:agent:${TENANT}:helper`, String(version));
  for (const text of [sealed_spec, mirrored ?? '']) {
    const [id, wrapped, sealed] = text.split('.');
    assert.deepEqual(after.unwrap(`${id}.${wrapped}`, place), specKey);
    assert.equal(sealed, sealedSpec.split('.')[2], 'the spec itself is as it was');
  }
  const again = (await readProviderKeys(db, TENANT)).map(({ sealedKey }) => sealedKey);
  for (const text of [...again, ...(await findProviderKeys(partition, TENANT)).values()]) {
    assert.equal(openText(after, text, providerKeyAad(TENANT, 'openai')), 'the key of acme');
  }
  assert.deepEqual([again.length, [...(await countWrapped(db)).keys()]], [1, ['k2']]);
});

test('the changes of a replay job are wrapped again while it is open, and counted', async () => {
  const loss = await openLoss();
  const { db } = loss;
  const id = newId('rpl');
  const job = {
    id,
    tenantId: TENANT,
    createdBy: 'key_a',
    filter: { limit: 1 },
    compare: 'requests',
    mode: 'offline',
    changed: ['instructions'],
    sealedChanges: sealText(before, '{"instructions":"Be brief."}', replayAad(id)),
    budgetNano: null,
    marks: [],
  } as const;
  await insertReplay(db, job, async () => undefined);
  assert.deepEqual([...(await rotate(loss, after)).left], [['k1', 1]], 'the old key is needed');
  assert.equal((await rotate(loss)).replays, 1);
  const { sealed_changes } = await db
    .selectFrom('replays')
    .select('sealed_changes')
    .executeTakeFirstOrThrow();
  assert.equal(openText(after, sealed_changes ?? '', replayAad(id)), '{"instructions":"Be brief."}');
  await claimReplay(db, { owner: 'o', leaseSeconds: 60 });
  await endReplay(db, { id, owner: 'o' }, { status: 'done', error: null });
  assert.deepEqual([...(await countWrapped(db)).keys()], []);
});

test('what was erased or changed since it was read stays as it is', async () => {
  const loss = await openLoss();
  const { db, partition } = loss;
  const { id } = await submitUnder(loss, before);
  await finish(await own(loss, id), 0);
  await store(loss);
  const wrapped = (await storedKey(loss, id)) ?? '';
  assert.equal(await replaceRunKeys(db, [{ runId: id, wrapped: 'another', next: 'x' }]), 0);
  await eraseHot(partition, await eraseRunContents(db, TENANT, [id]));
  assert.equal(await replaceRunKeys(db, [{ runId: id, wrapped, next: 'x' }]), 0);
  assert.deepEqual([await storedKey(loss, id), await hotKey(loss, id)], [undefined, null]);
  assert.deepEqual([(await rotate(loss)).hot, await hotKey(loss, id)], [0, null]);
});

test('what no key of the keyring opens is named and left', async () => {
  const loss = await openLoss();
  const lost = createKeyring([{ id: 'lost', key: newDataKey() }]);
  const { id } = await submitUnder(loss, lost);
  const { id: fine } = await submitUnder(loss, before);
  await store(loss);
  const { unreadable, left } = await rotate(loss);
  assert.deepEqual(unreadable.toSorted(), [id, `run:${id}`].toSorted());
  assert.deepEqual([...left], [['lost', 2]]);
  assert.match((await storedKey(loss, fine)) ?? '', /^k2\./);
});

test('a new key may have the name of the one before, which then has another', async () => {
  const loss = await openLoss();
  const { db } = loss;
  const again = createKeyring([
    { id: 'k1', key: K2.key },
    { id: 'old', key: K1.key },
  ]);
  const [{ id, key }, newer] = [await submitUnder(loss, before), await submitUnder(loss, again)];
  const sealedKey = sealText(before, 'the key of acme', providerKeyAad(TENANT, 'openai'));
  const stored = { tenantId: TENANT, provider: 'openai', keyId: 'pk_1', sealedKey, setBy: 'key_a' };
  await saveProviderKey(db, stored, async () => undefined);
  await store(loss);

  const { runKeys, providerKeys, hot, left, unreadable } = await rotate(loss, again);
  assert.deepEqual([runKeys, providerKeys, hot, ...left, ...unreadable], [1, 1, 1]);
  const alone = createKeyring([{ id: 'k1', key: K2.key }]);
  assert.deepEqual(alone.unwrap((await hotKey(loss, id)) ?? '', id), key);
  for (const run of [{ id, key }, newer])
    assert.deepEqual(alone.unwrap((await storedKey(loss, run.id)) ?? '', run.id), run.key);
  const [text] = (await readProviderKeys(db, TENANT)).map((row) => row.sealedKey);
  assert.equal(openText(alone, text ?? '', providerKeyAad(TENANT, 'openai')), 'the key of acme');
});

test('while Redis is being verified nothing is said to be no longer used: what was read before is put back after', async () => {
  const loss = await openLoss();
  const { db, partition } = loss;
  const sealedKey = sealText(before, 'the key of acme', providerKeyAad(TENANT, 'openai'));
  const stored = { tenantId: TENANT, provider: 'openai', keyId: 'pk_1', sealedKey, setBy: 'key_a' };
  await saveProviderKey(db, stored, async () => undefined);
  await partition.redis.del(...(await partition.redis.keys(`${partition.root}:*`)));

  let said: Rotation | Error | undefined;
  const rotating: Parameters<Db['withPlugin']>[0] = {
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      const isTheKeys = result.rows.some((row) => row['sealedKey'] === sealedKey);
      if (isTheKeys) said ??= await rotate(loss).catch((error: Error) => error);
      return result;
    },
  };
  assert.ok(await loss.verify(db.withPlugin(rotating)));
  assert.ok(untrusted(said), `the rotation said ${JSON.stringify(said)}`);
  assert.deepEqual([...(await rotate(loss)).left], []);
  const [mirrored] = [...(await findProviderKeys(partition, TENANT)).values()];
  assert.equal(openText(after, mirrored ?? '', providerKeyAad(TENANT, 'openai')), 'the key of acme');
});
