import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { messageOf } from '@signalbox/runtime';
import type { Partition } from './partition.ts';

/** The Lua scripts by name. Each file says what its KEYS, ARGV and replies are. */
const NAMES = [
  'acknowledge',
  'admin',
  'agent',
  'awaken',
  'backfill',
  'expire_waits',
  'hibernate',
  'submit',
  'claim',
  'commit',
  'consumers',
  'counters',
  'demand',
  'erase',
  'abort',
  'lease',
  'load',
  'leadership',
  'read',
  'reindex',
  'release',
  'repair',
  'rewrap',
  'set_aside',
  'shown',
  'stored',
  'strange',
  'trust',
  'wake',
  'write',
] as const;
export type ScriptName = (typeof NAMES)[number];

interface Script {
  readonly text: string;
  readonly sha: string;
}

const INCLUDE = /^--- @include (\w+)$/gm;
const read = (path: string): string => readFileSync(new URL(`../lua/${path}.lua`, import.meta.url), 'utf8');

const load = (name: ScriptName): Script => {
  const text = read(name).replace(INCLUDE, (_, part: string) => read(`lib/${part}`));
  return { text, sha: createHash('sha1').update(text).digest('hex') };
};

export const SCRIPTS: ReadonlyMap<ScriptName, Script> = new Map(NAMES.map((name) => [name, load(name)]));

const BY_SHA = new Map(Array.from(SCRIPTS, ([name, { sha }]) => [sha, name]));

/** Which script a SHA names, for whoever reads the traffic; null for one that is not ours. */
export const scriptOfSha = (sha: string): ScriptName | null => BY_SHA.get(sha) ?? null;

/** Runs a script by its SHA, loading it where the server does not know it. Throws what Redis says. */
export const evaluate = async (
  partition: Partition,
  name: ScriptName,
  args: readonly (string | number)[],
): Promise<unknown> => {
  const script = SCRIPTS.get(name);
  if (script === undefined) throw new Error(`no script ${name}`);
  try {
    return await partition.redis.evalsha(script.sha, 1, partition.root, ...args);
  } catch (error) {
    if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
  }
  return partition.redis.eval(script.text, 1, partition.root, ...args);
};
