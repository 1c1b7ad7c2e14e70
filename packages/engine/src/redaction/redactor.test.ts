import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { HeldSecrets } from './held-secrets.ts';
import { createRedactor, redactorsOf } from './redactor.ts';

const KEY = 'p/ss "word" with signs';

test('a loaded secret goes in every form it is written in, longest first', () => {
  const { text } = createRedactor({ secrets: [KEY, `${KEY}-2`, 'a'] });
  assert.equal(text(`a ${KEY} b`), 'a [REDACTED] b');
  assert.equal(text(`${KEY}-2`), '[REDACTED]', 'not a part of it');
  assert.equal(text(JSON.stringify({ said: KEY })), '{"said":"[REDACTED]"}');
  assert.equal(text(`?q=${encodeURIComponent(KEY)}`), '?q=[REDACTED]');
});

test('any loaded secret is gone from any JSON, keys and values (R13)', () => {
  const secret = fc.stringMatching(/^[A-Za-z0-9/+]{8,40}$/);
  fc.assert(
    fc.property(secret, fc.string(), fc.string(), (loaded, before, after) => {
      fc.pre(!`${before}${after}REDACTED`.includes(loaded));
      const { json } = createRedactor({ secrets: [loaded] });
      const planted = { list: [before + loaded + after], [`k${loaded}`]: { deep: loaded } };
      assert.ok(!JSON.stringify(json(planted)).includes(loaded));
    }),
  );
});

test('fields named for a secret lose their value; the shape stays', () => {
  const { json } = createRedactor();
  const value = {
    headers: { Authorization: 'x', 'x-api-key': ['y'], accept: 'json' },
    password: { old: 1 },
    token: null,
    output_tokens: 12,
    ok: true,
    list: [1, null, 'someone@example.com'],
  };
  assert.deepEqual(json(value), {
    headers: { Authorization: '[REDACTED]', 'x-api-key': '[REDACTED]', accept: 'json' },
    password: '[REDACTED]',
    token: null,
    output_tokens: 12,
    ok: true,
    list: [1, null, '[EMAIL]'],
  });
});

test('with pseudonyms the same person is the same token, however it is written', () => {
  const pseudonym = (kind: string, value: string): string =>
    createHash('sha256').update(`${kind} ${value}`).digest('hex').slice(0, 8);
  const { text } = createRedactor({ pseudonym });
  const [first, second, other] = ['Ann@Example.com', 'ann@example.com', 'bob@example.com'].map(text);
  assert.match(first ?? '', /^\[EMAIL:[0-9a-f]{8}\]$/);
  assert.equal(first, second);
  assert.notEqual(first, other);
  assert.equal(text('+1 555-123-4567'), text('+15551234567'));
});

test('redacting twice changes nothing', () => {
  const { text } = createRedactor({ secrets: [KEY], pseudonym: () => '1a2b3c4d' });
  const once = text(
    `${KEY} ann@example.com 4111 1111 1111 1111 536-90-4399 +15551234567 sk-ant-api03-${'a'.repeat(20)}`,
  );
  assert.equal(text(once), once);
});

test('a secret that comes later is taken out from then on, by every redactor that was given the same', () => {
  const secrets = new HeldSecrets([KEY]);
  const [one, two] = [createRedactor({ secrets }), redactorsOf({ secrets, digest: (said) => said })('acme')];
  const late = 'tenant/key+of=acme';
  assert.equal(one.text(`said ${late}`), `said ${late}`);
  secrets.add(late);
  for (const { text } of [one, two]) {
    assert.equal(text(`said ${late}, ${KEY}`), 'said [REDACTED], [REDACTED]');
    assert.equal(text(`?k=${encodeURIComponent(late)}`), '?k=[REDACTED]');
  }
});

test('of those that come later the last are held, and those of the environment always', () => {
  const secrets = new HeldSecrets([KEY]);
  const { text } = createRedactor({ secrets });
  for (let n = 0; n <= 5000; n += 1) {
    secrets.add(`plain-tenant-${n}.`);
    secrets.add('used again');
  }
  assert.equal(text(`plain-tenant-0. plain-tenant-5000.`), 'plain-tenant-0. [REDACTED]');
  assert.equal(text(`used again ${KEY}`), '[REDACTED] [REDACTED]');
});
