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

test('keys that no header can carry are refused, all at once and without their values', () => {
  const broken = {
    ANTHROPIC_API_KEY: 'hidden\nhidden',
    OPENAI_API_KEY: 'hidden\u2026',
    GEMINI_API_KEY: 'hid\u0001den',
    OAUTH_GPT_BRIDGE_TOKEN: 'hidden\u007f',
  };
  assert.throws(
    () => keysOf({ ...broken, GROQ_API_KEY: 'good' }),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(
        error.problems.map((problem) => problem.split(' ')[0]),
        Object.keys(broken),
      );
      assert.ok(!error.message.includes('hid') && error.message.includes('malformed: expected a key'));
      return true;
    },
  );
});
