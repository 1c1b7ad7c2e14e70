import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assertLinear } from '../../test/linear-time.ts';
import { isSecretName, REDACTED, redactSecrets } from './secrets.ts';

const ALNUM = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'.split('');
const alnum = (min: number, max = min + 40): fc.Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...ALNUM), minLength: min, maxLength: max });
const upper = fc.string({ unit: fc.constantFrom(...ALNUM.slice(0, 26)), minLength: 16, maxLength: 16 });

const base64url = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => Buffer.from(bytes).toString('base64url'));
const pem = (body: string): string => (body.match(/.{1,64}/g) ?? []).join('\n');

/** How each kind of secret looks in a text, from the part that must not survive. */
const KINDS: readonly [string, fc.Arbitrary<string>, (secret: string) => string][] = [
  ['an OpenAI key', alnum(20), (s) => `sk-${s}`],
  ['an OpenAI project key', alnum(20), (s) => `sk-proj-${s}`],
  ['an Anthropic key', alnum(20), (s) => `sk-ant-api03-${s}`],
  ['an OpenRouter key', alnum(20), (s) => `sk-or-v1-${s}`],
  ['a Groq key', alnum(20), (s) => `gsk_${s}`],
  ['a Google key', alnum(35), (s) => `AIza${s}`],
  ['a Hugging Face token', alnum(30), (s) => `hf_${s}`],
  ['a Slack token', alnum(20), (s) => `xoxb-${s}`],
  ['a GitHub token', alnum(36), (s) => `ghp_${s}`],
  ['a GitHub fine-grained token', alnum(40), (s) => `github_pat_${s}`],
  ['an AWS key id', upper, (s) => `AKIA${s}`],
  ['one of our own keys', base64url, (s) => `sbk_${s}`],
  ['a JWT', alnum(20), (s) => `eyJhbGciOiJIUzI1NiJ9.eyJ${s}.c2lnbmF0dXJl`],
  [
    'a private key',
    alnum(200, 2000),
    (s) => `-----BEGIN RSA PRIVATE KEY-----\n${pem(s)}\n-----END RSA PRIVATE KEY-----`,
  ],
  ['a private key cut off', alnum(200, 2000), (s) => `-----BEGIN PRIVATE KEY-----\n${pem(s)}`],
  ['a private key in JSON, cut off', alnum(60, 64), (s) => `-----BEGIN PRIVATE KEY-----\\n${s}\\n`],
  ['a password in a URL', alnum(8), (s) => `redis://user:${s}@host:6379/0`],
  ['a password in a URL without a user', alnum(8), (s) => `redis://:${s}@host:6379`],
  ['a bearer token', alnum(12), (s) => `Authorization: Bearer ${s}`],
  ['basic credentials', alnum(8).map((s) => `u${s}1==`), (s) => `authorization: Basic ${s}`],
  ['an environment variable', alnum(8), (s) => `OPENAI_API_KEY=${s}`],
  ['an AWS secret', alnum(40), (s) => `aws_secret_access_key = ${s}`],
  ['a header', alnum(8), (s) => `x-api-key: ${s}`],
  ['a form field', alnum(8), (s) => `client_secret=${s}&grant_type=x`],
  ['a JSON field', alnum(8), (s) => `{"access_token": "${s}"}`],
  ['a camel-case field', alnum(8), (s) => `{"clientSecret":"${s}"}`],
  ['JSON kept as text', alnum(8), (s) => `{\\"password\\":\\"${s}\\"}`],
];

/** Any text, ending or beginning with a sign that no key holds. */
const around = fc.tuple(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.constantFrom(' ', '\n', '"', "'", '(', ',', '=', ':', ': ', '\t'),
);

for (const [what, secrets, plant] of KINDS) {
  test(`${what} does not survive (R13)`, () => {
    fc.assert(
      fc.property(secrets, around, around, (secret, [before, open], [after, close]) => {
        const text = before + open + plant(secret) + close + after;
        const redacted = redactSecrets(text);
        const half = secret.length >> 1;
        for (const part of [secret.slice(0, half), secret.slice(half)]) {
          fc.pre(!(before + after + plant(REDACTED)).includes(part));
          assert.ok(!redacted.includes(part), `${part} is left in ${redacted}`);
        }
        assert.ok(redacted.includes(REDACTED));
      }),
      { numRuns: 200 },
    );
  });

  test(`redacting twice changes nothing: ${what}`, () => {
    fc.assert(
      fc.property(secrets, (secret) => {
        const once = redactSecrets(plant(secret));
        assert.equal(redactSecrets(once), once);
      }),
      { numRuns: 50 },
    );
  });
}

const ORDINARY = [
  'The model answered with nothing 3 times in a row.',
  'Use risk-adjusted-performance-measures in a task-management-application on a disk-encrypted-filesystem.',
  'Basic information about the basic configuration; Basic Authentication is off.',
  'max_output_tokens=1024, input_tokens: 123456, tokens used: 99999',
  'The secret of good bread is patience. A token gesture. Forgot the password?',
  'connect ECONNREFUSED 127.0.0.1:6379',
  'GET https://example.com:8080/a/b?page=2#top answered 404',
  'mail to someone@example.com about http://example.com/@user',
  'run run_0190a5c47d1e7c3a9b2f4d5e6f708192 handed over at 2026-01-01T00:00:00.000Z',
  '0190a5c4-7d1e-7c3a-9b2f-4d5e6f708192',
  'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
  'anthropic/claude-haiku-4-5 and openai/gpt-4o-mini cost 0.000123 USD',
  'sk-short, eyJ, AKIA, Bearer, -----BEGIN PUBLIC KEY-----',
  'Grüße, 世界, \u0000 and \ud800',
];

for (const text of ORDINARY) {
  test(`left as it is: ${JSON.stringify(text).slice(0, 60)}`, () => assert.equal(redactSecrets(text), text));
}

test('numbers, uuids, run ids and times among words are left as they are', () => {
  const hex = fc.string({
    unit: fc.constantFrom(...'0123456789abcdef'.split('')),
    minLength: 32,
    maxLength: 32,
  });
  const word = fc.oneof(
    fc.constantFrom('the', 'run', 'failed', 'at', 'step', 'because', 'worker', 'was', 'lost', 'tokens'),
    fc.integer().map(String),
    fc.double().map(String),
    fc.uuid(),
    hex.map((digits) => `run_${digits}`),
    fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map((date) => date.toISOString()),
  );
  fc.assert(
    fc.property(
      fc.array(word, { maxLength: 30 }),
      fc.constantFrom(' ', ', ', '\n', ': ', '="'),
      (words, sign) => {
        const text = words.join(sign);
        assert.equal(redactSecrets(text), text);
      },
    ),
    { numRuns: 500 },
  );
});

const HOSTILE = [
  'a',
  'eyJ',
  '-eyJ',
  'eyJaaaaaaaa.',
  `eyJ${'a'.repeat(490)}.`,
  '-----BEGIN PRIVATE KEY-----',
  `-----BEGIN PRIVATE KEY-----${'A'.repeat(90)}\n`,
  'a://',
  'aa://a:a',
  'token ',
  'token=',
  'basic aaaaaaaa',
  'bearer ',
  'sk-',
  ' ',
];

for (const unit of HOSTILE) {
  test(`time grows with the text, not with its square: ${JSON.stringify(unit).slice(0, 40)}...`, () =>
    assertLinear(unit, redactSecrets));
}

test('names of secrets, however they are written, and names that only look like one', () => {
  const secret = [
    'Authorization',
    'x-api-key',
    'X_API_KEY',
    'apiKey',
    'clientSecret',
    'access_token',
    'Set-Cookie',
  ];
  secret.push(
    'DB_PASSWORD',
    'private key',
    'token',
    'refreshToken',
    'encryption_keys',
    'proxy-authorization',
  );
  for (const name of secret) assert.ok(isSecretName(name), name);
  const ordinary = [
    'output_tokens',
    'max_tokens',
    'key',
    'idempotency_key',
    'author',
    'monkey',
    'secretary',
    'id',
  ];
  for (const name of ordinary) assert.ok(!isSecretName(name), name);
});
