import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { databaseUrl } from './database-url.ts';

const messages = (text: string): string[] =>
  databaseUrl.safeParse(text).error?.issues.map(({ message }) => message) ?? [];

test('a certificate that is not there is found at the start, and named by its place alone', () => {
  const here = fileURLToPath(import.meta.url);
  for (const good of [
    'postgres://u:p@host/db',
    'postgresql:///db?host=/var/run/postgresql',
    `postgres://host/db?sslmode=verify-full&sslrootcert=${encodeURIComponent(here)}`,
  ]) {
    assert.equal(databaseUrl.parse(good), good);
  }
  const missing = 'postgres://u:secret@host/db?sslrootcert=/no/ca.pem&sslkey=/no/key.pem';
  assert.deepEqual(messages(missing), [
    'expected a file that can be read behind sslrootcert=',
    'expected a file that can be read behind sslkey=',
  ]);
  assert.deepEqual(messages('mysql://host/db?sslkey=/no/key.pem'), [
    'expected a URL: postgres://... or postgresql://...',
  ]);
});
