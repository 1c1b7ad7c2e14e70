/** Keys on the wire: which one a provider sees, and what a ping does. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ModelError, type ProviderKey } from '@signalbox/contracts';
import { createModels } from '@signalbox/providers';
import { sha256Hex, systemClock } from '@signalbox/runtime';
import { startFakeProvider } from '../support/fake-provider/index.ts';
import { HAIKU, KEY, MINI, modelsAt, OURS, requestTo, withFake } from './calls.ts';

const key = (secret: string): ProviderKey => ({ source: 'vault', id: 'pk_1', secret });
const signal = new AbortController().signal;
const onDelta = (): void => undefined;

const failureOf = async (call: Promise<unknown>): Promise<ModelError> => {
  const error: unknown = await call.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ModelError, String(error));
  return error;
};

for (const [provider, model] of [
  ['anthropic', HAIKU],
  ['openai', MINI],
] as const) {
  describe(provider, () => {
    it('each call goes out with its own key', () =>
      withFake({}, async (fake, models) => {
        const keys = ['key-of-tenant-a', 'key-of-tenant-b', 'key-of-tenant-a'];
        for (const one of keys) await models.call(requestTo(model), { key: key(one), signal, onDelta });
        assert.deepEqual(
          fake.ledger.map((entry) => entry.key),
          keys.map(sha256Hex),
        );
      }));

    it('a ping is one request that is not billed', () =>
      withFake({}, async (fake) => {
        await modelsAt(fake).ping(provider, OURS);
        assert.deepEqual([fake.pings, fake.ledger], [[{ key: sha256Hex(KEY), status: 200 }], []]);
      }));

    it('a ping says what is wrong, without the key, and is not tried again', () =>
      withFake({ pingStatus: () => 401 }, async (fake) => {
        const error = await failureOf(modelsAt(fake).ping(provider, OURS));
        assert.match(error.message, /refused our API key \(HTTP 401\)/);
        assert.ok(!error.message.includes(KEY));
        assert.equal(fake.pings.length, 1);
      }));

    it('a ping that gets no answer ends', async () => {
      const fake = await startFakeProvider();
      await fake.stop();
      const error = await failureOf(modelsAt(fake).ping(provider, OURS));
      assert.match(error.message, /no answer from (anthropic|openai): ECONNREFUSED/);
      const silent = createModels({
        clock: systemClock,
        timeoutMs: 50,
        fetch: (_, init) =>
          new Promise((_resolve, reject) => {
            init?.signal?.addEventListener('abort', () => reject(new Error('cut')));
          }),
      });
      assert.match((await failureOf(silent.ping(provider, OURS))).message, /within 50 ms/);
      const page = createModels({ clock: systemClock, fetch: async () => new Response('<html>') });
      await failureOf(page.ping(provider, OURS));
    });

    for (const [name, secret] of [
      ['a line break', 'key-of\nacme'],
      ['a carriage return', 'key-of\racme'],
      ['a control character', 'key-of\u0000acme'],
      ['a character above U+00FF', 'key-of-acme-\u2026'],
    ] as const) {
      it(`a key with ${name} is never sent: nothing is billed, and nothing is tried again`, () =>
        withFake({}, async (fake) => {
          const models = modelsAt(fake);
          const call = models.call(requestTo(model), { key: key(secret), signal, onDelta });
          for (const tried of [models.ping(provider, key(secret)), call]) {
            const { code, billed, retryable, message } = await failureOf(tried);
            assert.deepEqual([code, billed, retryable], ['provider_auth', 'none', false]);
            assert.match(message, new RegExp(`PUT /v1/providers/${provider}/key again`));
            assert.ok(!message.includes('acme'), message);
          }
          assert.deepEqual([fake.pings, fake.ledger], [[], []]);
        }));
    }

    it('a key of the environment that is never sent is to be corrected there', () =>
      withFake({}, async (fake) => {
        const broken = { ...OURS, secret: 'a\nb' };
        const { message } = await failureOf(modelsAt(fake).ping(provider, broken));
        assert.match(message, new RegExp(`correct ${provider.toUpperCase()}_API_KEY`));
      }));

    it('without a key, or with one that cannot be opened, nothing is sent', () =>
      withFake({}, async (fake) => {
        const models = modelsAt(fake);
        const sealed = { source: 'vault', id: null, secret: null } as const;
        for (const [missing, words] of [
          [null, `PUT /v1/providers/${provider}/key`],
          [sealed, 'ENCRYPTION_KEYS'],
        ] as const) {
          const call = models.call(requestTo(model), { key: missing, signal, onDelta });
          for (const tried of [models.ping(provider, missing), call]) {
            const { code, billed, message } = await failureOf(tried);
            assert.deepEqual([code, billed], ['provider_auth', 'none']);
            assert.ok(message.includes(words), message);
          }
        }
        assert.deepEqual([fake.pings, fake.ledger], [[], []]);
      }));
  });
}

it('the mock needs no key and answers every ping', () =>
  createModels({ clock: systemClock }).ping('mock', null));
