import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createRedactor, HeldSecrets, redactorsOf } from '@signalbox/engine';
import { createKeyring, ManualClock, newDataKey } from '@signalbox/runtime';
import { createKeyVault, type KeyVaultOptions } from './key-vault.ts';

const RING = { id: 'k1', key: newDataKey() };
const ENV = 'key-of-the-environment';
const OWN = 'own-key-of-acme-number-one';

const vaultWith = (options: Partial<KeyVaultOptions> = {}) => {
  const stored = new Map<string, Map<string, string>>();
  const asked: string[] = [];
  const clock = new ManualClock();
  const secrets = new HeldSecrets([ENV]);
  const vault = createKeyVault({
    keyring: createKeyring([RING]),
    clock,
    secrets,
    keys: { openai: ENV, groq: '' },
    find: async (tenantId) => {
      asked.push(tenantId);
      return stored.get(tenantId) ?? new Map<string, string>();
    },
    ...options,
  });
  const set = (tenantId: string, provider: 'openai' | 'groq', secret: string): string => {
    const { id, sealed } = vault.seal(tenantId, provider, secret);
    stored.set(tenantId, (stored.get(tenantId) ?? new Map<string, string>()).set(provider, sealed));
    return id;
  };
  return { vault, stored, asked, clock, secrets, set };
};

describe('key vault', () => {
  test('a tenant has its own key, where it set one; others have that of the environment', async () => {
    const { vault, stored, set } = vaultWith();
    const id = set('acme', 'openai', OWN);
    assert.match(id, /^pk_[0-9a-f]{16}$/);
    assert.ok(![...(stored.get('acme')?.values() ?? [])].join().includes(OWN));
    const own = await vault.keysOf('acme');
    assert.deepEqual(own.get('openai'), { source: 'vault', id, secret: OWN });
    const other = await vault.keysOf('other');
    assert.deepEqual([...other.keys()], ['openai'], 'an empty variable is no key');
    assert.deepEqual([other.get('openai')?.source, other.get('openai')?.secret], ['env', ENV]);
  });

  test('an id tells keys of one tenant apart, and nothing about the keys of others', () => {
    const { vault } = vaultWith();
    const { id, sealed } = vault.seal('acme', 'openai', OWN);
    const again = vault.seal('acme', 'openai', OWN);
    assert.deepEqual([again.id, again.sealed === sealed], [id, false]);
    const others = [
      vault.seal('acme', 'openai', `${OWN}2`),
      vault.seal('other', 'openai', OWN),
      vault.seal('acme', 'groq', OWN),
    ];
    assert.equal(new Set([id, ...others.map((other) => other.id)]).size, 4);
  });

  test("what cannot be opened is not replaced by the environment's: lost key, another tenant's text", async () => {
    const { vault, stored, set } = vaultWith();
    set('acme', 'openai', OWN);
    stored.set('other', stored.get('acme') ?? new Map<string, string>());
    const unreadable = { source: 'vault', id: null, secret: null, lacksKey: true };
    assert.deepEqual((await vault.keysOf('other')).get('openai'), unreadable);
    const keyring = createKeyring([{ id: 'k2', key: newDataKey() }]);
    const find: KeyVaultOptions['find'] = async (tenantId) => stored.get(tenantId) ?? new Map();
    assert.deepEqual((await vaultWith({ keyring, find }).vault.keysOf('acme')).get('openai'), unreadable);
    stored.set('acme', new Map([['openai', 'k1.AAAA']]));
    const damaged = { source: 'vault', id: null, secret: null };
    assert.deepEqual((await vault.keysOf('acme')).get('openai'), damaged);
  });

  test('a key is known to the redaction before anybody has it', async () => {
    const first = vaultWith();
    first.set('acme', 'openai', OWN);
    assert.equal(createRedactor({ secrets: first.secrets }).text(OWN), '[REDACTED]', 'as it is sealed');
    const { vault, secrets } = vaultWith({
      find: async (tenantId) => first.stored.get(tenantId) ?? new Map(),
    });
    const { text } = createRedactor({ secrets });
    assert.equal(text(OWN), OWN);
    await vault.keysOf('acme');
    assert.equal(text(OWN), '[REDACTED]', 'as it is opened');
    const redactorOf = redactorsOf({ secrets, digest: (said) => said });
    const ofEach = ['acme', 'other'].map((tenantId) => redactorOf(tenantId).text(OWN));
    assert.deepEqual(ofEach, ['[REDACTED]', OWN], 'in the texts of its tenant');
  });

  test('an answer stands for its time, one for all who ask at once; a failure does not stand', async () => {
    const { vault, asked, clock, set } = vaultWith({ ttlMs: 5000 });
    await Promise.all([vault.keysOf('acme'), vault.keysOf('acme')]);
    set('acme', 'openai', OWN);
    await clock.advance(4999);
    assert.equal((await vault.keysOf('acme')).get('openai')?.source, 'env');
    assert.deepEqual(asked, ['acme']);
    await clock.advance(1);
    assert.equal((await vault.keysOf('acme')).get('openai')?.source, 'vault');

    let away = true;
    const find = async (): Promise<Map<string, string>> =>
      away ? Promise.reject(new Error('away')) : new Map();
    const shaky = vaultWith({ ttlMs: 5000, find }).vault;
    await assert.rejects(shaky.keysOf('acme'), /away/);
    away = false;
    assert.equal((await shaky.keysOf('acme')).get('openai')?.source, 'env');
  });
});
