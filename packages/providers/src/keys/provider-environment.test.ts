import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, parseEnv } from '@signalbox/runtime';
import { z } from 'zod';
import { providerAccess, providerVariables } from './provider-environment.ts';

const keysOf = (env: Readonly<Record<string, string>>) =>
  providerAccess(parseEnv(z.object(providerVariables), env)).keys;

test('a key is taken without the line end of the file it came from', () => {
  const { openai, groq } = keysOf({ OPENAI_API_KEY: ' sk-1\r\n', GROQ_API_KEY: 'gsk with\tblanks\u00e9' });
  assert.deepEqual([openai, groq], ['sk-1', 'gsk with\tblanks\u00e9']);
});

/** All of `broken` at once and nothing else, without their values. */
const assertRefused = (broken: Readonly<Record<string, string>>, good: object, says: string): void =>
  assert.throws(
    () => keysOf({ ...broken, ...good }),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(
        error.problems.map((problem) => problem.split(' ')[0]),
        Object.keys(broken),
      );
      assert.ok(!error.message.includes('hid') && error.message.includes(says));
      return true;
    },
  );

test('addresses that no call can be sent to are refused', () => {
  const broken = {
    ANTHROPIC_BASE_URL: 'https://user:hidden@proxy.internal/v1',
    OPENAI_BASE_URL: 'https://hidden@proxy.internal/v1',
    GROQ_BASE_URL: 'https://proxy.internal/v1?key=hidden',
    OAUTH_GPT_BRIDGE_URL: 'https://proxy.internal/v1#hidden',
  };
  const good = { GEMINI_BASE_URL: 'http://proxy.internal:8080/v1/' };
  assertRefused(broken, good, 'malformed: expected a URL without user');
});

test('keys that no header can carry are refused', () => {
  const broken = {
    ANTHROPIC_API_KEY: 'hidden\nhidden',
    OPENAI_API_KEY: 'hidden\u2026',
    GEMINI_API_KEY: 'hid\u0001den',
    OAUTH_GPT_BRIDGE_TOKEN: 'hidden\u007f',
  };
  assertRefused(broken, { GROQ_API_KEY: 'good' }, 'malformed: expected a key');
});
