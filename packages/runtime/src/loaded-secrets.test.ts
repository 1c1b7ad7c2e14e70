import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadedSecrets } from './loaded-secrets.ts';

test('keys, tokens, every key of a keyring and passwords in URLs are secrets; the rest is none', () => {
  const secrets = loadedSecrets({
    OPENAI_API_KEY: 'sk-one',
    OAUTH_GPT_BRIDGE_TOKEN: 'two',
    ENCRYPTION_KEYS: 'new:AAAA=,old:BBBB=',
    OTEL_EXPORTER_OTLP_HEADERS: 'x-honeycomb-team=three, other=four',
    REDIS_URL: 'rediss://user:p%40ss@host:6379/0',
    DATABASE_URL: 'postgres://plain@host/db',
    PORT: '8080',
    HOST: 'localhost',
    MISTRAL_API_KEY: '',
    GROQ_API_KEY: undefined,
  });
  for (const secret of ['sk-one', 'two', 'AAAA=', 'BBBB=', 'three', 'four', 'p%40ss', 'p@ss']) {
    assert.ok(secrets.includes(secret), secret);
  }
  for (const ordinary of ['8080', 'localhost', 'plain', 'new', 'old', '']) {
    assert.ok(!secrets.includes(ordinary), ordinary);
  }
});

test('a password in a URL that cannot be decoded is a secret as it stands', () => {
  const secrets = loadedSecrets({ HTTP_PROXY: 'http://user:50%off@proxy:3128' });
  assert.deepEqual(secrets, ['50%off']);
});
