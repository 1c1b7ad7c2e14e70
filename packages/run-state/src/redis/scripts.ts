import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { SignalboxError } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';
import type { Partition } from './partition.ts';
import { Texts } from './reply.ts';

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

/** A key holds another type than it should. */
const isWrongType = (error: unknown): boolean => messageOf(error).startsWith('WRONGTYPE ');

/** Redis names the script in a bug of ours, which no retry mends; a refusal (OOM, READONLY, ...) has its own prefix. */
const isScriptBug = (message: string): boolean =>
  /^(ERR|WRONGTYPE) /.test(message) && message.includes(' script: ');

/** Redis cannot be reached or refuses: nothing was changed, or a repeat finds it, so waiting helps. */
const failure = (error: unknown, name: string): SignalboxError => {
  const message = messageOf(error);
  if (isScriptBug(message)) {
    return new SignalboxError('internal', `The script "${name}" broke (${message}). Report this.`, {
      cause: error,
    });
  }
  return new SignalboxError(
    'state_unavailable',
    `Run state did not take "${name}" (${message}). Try again in a moment.`,
    {
      cause: error,
      retryAfter: 1,
    },
  );
};

const evaluate = async (
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

/** At a key that all share and that is of another type the script breaks once: it is set aside (strange.lua). */
const evaluateTwice: typeof evaluate = async (partition, name, args) => {
  try {
    return await evaluate(partition, name, args);
  } catch (error) {
    if (!isWrongType(error)) throw error;
  }
  await evaluate(partition, 'strange', []);
  return evaluate(partition, name, args);
};

/**
 * Runs a script by its SHA, loading it where the server does not know it. Throws `state_unavailable`
 * (retryable) when Redis cannot be reached or refuses (a lost reply is safe to repeat), `internal` when the
 * script broke, `state_untrusted` (retryable) until the scheduler has verified the server's data.
 */
export const runScript = async (
  partition: Partition,
  name: ScriptName,
  args: readonly (string | number)[],
): Promise<unknown> => {
  const reply = await evaluateTwice(partition, name, args).catch((error: unknown) => {
    throw failure(error, name);
  });
  if (Array.isArray(reply) && reply[0] === 'UNTRUSTED') {
    throw new SignalboxError(
      'state_untrusted',
      `Run state did not take "${name}": its data is being verified against Postgres. Try again in a moment.`,
      { retryAfter: 1 },
    );
  }
  return reply;
};

/**
 * Sets keys aside that all tenants share and that hold another type than they should; then a verification makes them
 * anew. Answers their names. Throws `state_unavailable`.
 */
export const setStrangeAside = async (partition: Partition): Promise<string[]> =>
  Texts.parse(await runScript(partition, 'strange', []));
