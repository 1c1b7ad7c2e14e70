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

const digest = (said: string): string => said;
const of = (tenantId: string, provider = 'openai') => ({ tenantId, provider });

test("a secret that comes later is taken out from then on: of its tenant's texts, and of the log", () => {
  const secrets = new HeldSecrets([KEY]);
  const [log, acme] = [createRedactor({ secrets }), redactorsOf({ secrets, digest })('acme')];
  const late = 'tenant/key+of=acme"number-one';
  assert.equal(acme.text(`said ${late}`), `said ${late}`);
  secrets.add(of('acme'), late);
  for (const { text } of [log, acme]) {
    assert.equal(text(`said ${late}, ${KEY}`), 'said [REDACTED], [REDACTED]');
    assert.equal(text(`?k=${encodeURIComponent(late)}`), '?k=[REDACTED]');
    assert.equal(text(JSON.stringify({ said: late })), '{"said":"[REDACTED]"}');
  }
});

test('what one tenant calls a secret changes no text of another', () => {
  const secrets = new HeldSecrets([KEY]);
  const redactorOf = redactorsOf({ secrets, digest });
  const [evil, victim] = [redactorOf('evil'), redactorOf('victim')];
  const said = 'provider_key.changed:agent-of-the-victim';
  secrets.add(of('evil'), said);
  assert.equal(victim.text(`${said} ${KEY}`), `${said} [REDACTED]`);
  assert.equal(evil.text(`${said} ${KEY}`), '[REDACTED] [REDACTED]');
  secrets.add(of('victim'), `own-${said}`);
  assert.equal(victim.text(`${said}, own-${said}`), `${said}, [REDACTED]`);
});

test('a text of a tenant that is shorter than 20 signs is no secret', () => {
  const secrets = new HeldSecrets([]);
  secrets.add(of('acme'), 'x'.repeat(19));
  secrets.add(of('acme'), 'y'.repeat(20));
  for (const { text } of [createRedactor({ secrets }), redactorsOf({ secrets, digest })('acme')])
    assert.equal(text(`${'x'.repeat(19)} ${'y'.repeat(20)}`), `${'x'.repeat(19)} [REDACTED]`);
});

test('of each provider the key in use and the one before are held, however many were set', () => {
  const secrets = new HeldSecrets([KEY]);
  const key = (n: number): string => `key-of-acme-number-${1000 + n}`;
  for (let n = 0; n < 50; n += 1) secrets.add(of('acme'), key(n));
  secrets.add(of('acme', 'groq'), key(100));
  secrets.add(of('acme'), key(48));
  for (const { text } of [createRedactor({ secrets }), redactorsOf({ secrets, digest })('acme')]) {
    const [held, gone] = [[key(49), key(48), key(100), KEY], key(47)];
    assert.equal(text([...held, gone].join(' ')), `${'[REDACTED] '.repeat(4)}${gone}`);
  }
});

test('the tenants whose keys were used last are held, and the environment always', () => {
  const secrets = new HeldSecrets([KEY]);
  const key = (n: number): string => `key-of-the-tenant-${n}.`;
  for (let n = 0; n <= 5000; n += 1) {
    secrets.add(of(`tenant-${n}`), key(n));
    secrets.add(of('busy'), 'the-key-of-a-busy-tenant');
  }
  const { text } = createRedactor({ secrets });
  assert.equal(text(`${key(0)} ${key(1)} ${key(2)}`), `${key(0)} ${key(1)} [REDACTED]`);
  assert.equal(text(`the-key-of-a-busy-tenant ${KEY} ${key(5000)}`), '[REDACTED] [REDACTED] [REDACTED]');
  const redactorOf = redactorsOf({ secrets, digest });
  assert.deepEqual(
    [redactorOf('tenant-0').text(key(0)), redactorOf('tenant-2').text(key(2))],
    [key(0), '[REDACTED]'],
  );
  assert.equal(redactorOf('tenant-0').text(KEY), '[REDACTED]');
});

test('a key that two tenants hold stays one until neither holds it', () => {
  const secrets = new HeldSecrets([]);
  const { text } = createRedactor({ secrets });
  const [shared, other] = ['the-key-that-both-have', (n: number) => `another-key-of-them-${n}`];
  for (const tenantId of ['a', 'b']) secrets.add(of(tenantId), shared);
  const replace = (tenantId: string): void => [1, 2].forEach((n) => secrets.add(of(tenantId), other(n)));
  replace('a');
  assert.equal(text(shared), '[REDACTED]');
  replace('b');
  assert.equal(text(shared), shared);
});
