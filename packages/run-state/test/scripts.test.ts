/** The Lua scripts, as Redis gets them: read, not run, since a branch that is rarely taken breaks only when it is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from 'luaparse';
import { z } from 'zod';
import { SCRIPTS } from '../src/redis/evaluate.ts';

/** What Redis gives a script. */
const GIVEN = [
  'ARGV',
  'KEYS',
  'cjson',
  'error',
  'ipairs',
  'math',
  'next',
  'pairs',
  'pcall',
  'redis',
  'string',
  'table',
  'tonumber',
  'tostring',
  'type',
  'unpack',
];

/** Redis looks at the first line, which is no Lua. */
const withoutFlags = (text: string): string => text.replace(/^#!.*/, '');

/** Its types do not name what `scope` adds. */
const Parsed = z.object({ globals: z.array(z.object({ name: z.string() })) });

const globalsOf = (text: string): string[] =>
  Parsed.parse(parse(text, { scope: true, luaVersion: '5.1' })).globals.map(({ name }) => name);

for (const [name, { text }] of SCRIPTS) {
  test(`${name}.lua names nothing that it does not include`, () => {
    const unknown = globalsOf(withoutFlags(text)).filter((one) => !GIVEN.includes(one));
    assert.deepEqual(unknown, []);
  });
}
