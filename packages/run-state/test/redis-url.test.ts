import assert from 'node:assert/strict';
import { test } from 'node:test';
import { redisUrl } from '../src/redis/redis-url.ts';

for (const text of [
  'redis://127.0.0.1',
  'redis://127.0.0.1:6379/',
  'redis://127.0.0.1:6379/0',
  'rediss://user:p%40ss@redis.internal:6380/15',
  'redis://127.0.0.1:6379/?db=3',
]) {
  test(`${text} is taken as it is`, () => assert.equal(redisUrl.parse(text), text));
}

for (const [what, message, urls] of [
  [
    'a database that the server does not have, or that is no number',
    /^expected a database from 0 to 15/,
    ['redis://h/abc', 'redis://h/16', 'redis://h/-1', 'redis://h/1.5', 'redis://h/1/2', 'redis://h/?db=abc'],
  ],
  [
    'a password that cannot be decoded',
    /^expected a user and password/,
    ['redis://u:50%@h', 'redis://%zz@h/1'],
  ],
  ['another protocol', /^expected a URL: redis:/, ['http://h', 'h:6379']],
] as const) {
  test(`${what} is refused`, () => {
    for (const text of urls) {
      const issues = redisUrl.safeParse(text).error?.issues.map((issue) => issue.message) ?? [];
      assert.equal(issues.length, 1, text);
      assert.match(issues[0] ?? '', message);
    }
  });
}
