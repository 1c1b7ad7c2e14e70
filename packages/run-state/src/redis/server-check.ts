/**
 * Whether a Redis may carry run state or the queue, looked at once when a process starts. One that may not
 * would lose runs some day without a word, so it is refused at the start, as a bad configuration is.
 * A server that does not answer yet is asked until it does; one that does not tell is only warned of.
 */
import { backoffMs, type Clock, type Logger, pause } from '@signalbox/runtime';
import type { Redis } from 'ioredis';
import { z } from 'zod';

const MODES = ['strict', 'normal', 'warn'] as const;
/** `strict` also refuses a server without an append-only file; `warn` refuses nothing. */
export const redisCheck = z.enum(MODES, { error: `expected one of ${MODES.join(', ')}` }).default('normal');
export type RedisCheck = z.infer<typeof redisCheck>;

export interface ServerToCheck {
  /** The variable that named it. */
  readonly variable: string;
  readonly url: string;
  readonly redis: Redis;
}

export interface ServerCheckOptions {
  readonly mode: RedisCheck;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stopping: AbortSignal;
}

interface Fault {
  readonly what: string;
  /** Nothing can work, or run state can vanish while all goes well. */
  readonly grave: boolean;
}

/** Scripts with flags (`allow-oom`) came with it. */
const OLDEST = 7;

/** What is wrong with a server that says this of itself (INFO). */
export const faultsOf = (info: string): Fault[] => {
  const told = (name: string): string | undefined => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1];
  const faults: Fault[] = [];
  const version = told('redis_version');
  if (version !== undefined && Number.parseInt(version, 10) < OLDEST)
    faults.push({ grave: true, what: `Redis ${version} is too old; use ${OLDEST}.0 or later` });
  const policy = told('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction') {
    const what = `maxmemory-policy is ${policy}, so runs, holds and caps may be evicted; set it to noeviction`;
    faults.push({ grave: true, what });
  }
  if (told('aof_enabled') === '0') {
    const what =
      'the append-only file is off, so a restart loses what Postgres has not yet; set appendonly yes';
    faults.push({ grave: false, what });
  }
  // It is told only where it is asked for.
  if (Number(told('connected_slaves') ?? 0) > 0 && told('min_slaves_good_slaves') === undefined) {
    const what =
      'a master that is cut off from its replicas goes on taking writes, which are lost when one of them takes over; set min-replicas-to-write and a min-replicas-max-lag below LEASE_SECONDS';
    faults.push({ grave: false, what });
  }
  return faults;
};

/** Without user, password and options (R13). */
const shown = (url: string): string => {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`;
};

const isUntold = (error: unknown): boolean =>
  error instanceof Error && /^(NOPERM |ERR unknown command)/.test(error.message);

/** Null: it does not tell, or the process stops before it answers. */
const readInfo = async (server: ServerToCheck, options: ServerCheckOptions): Promise<string | null> => {
  const { clock, logger, stopping } = options;
  for (let attempt = 1; !stopping.aborted; attempt += 1) {
    try {
      return await server.redis.info();
    } catch (error) {
      if (isUntold(error)) {
        logger.warn(`${server.variable} could not be checked: INFO is refused`, { error });
        return null;
      }
    }
    const delay = backoffMs(attempt, { baseMs: 100, capMs: 2000, random: Math.random });
    await pause(clock, delay, stopping);
  }
  return null;
};

const problemsOf = async (server: ServerToCheck, options: ServerCheckOptions): Promise<string[]> => {
  const info = await readInfo(server, options);
  const problems: string[] = [];
  for (const { what, grave } of info === null ? [] : faultsOf(info)) {
    const problem = `${server.variable} (${shown(server.url)}): ${what}`;
    const refused = options.mode === 'strict' || (options.mode === 'normal' && grave);
    if (refused) problems.push(problem);
    else options.logger.warn(`Redis is not fit to keep runs: ${problem}`);
  }
  return problems;
};

/** Why the process must not go on; empty when it may. Waits for servers that do not answer. Never rejects. */
export const checkServers = async (
  servers: readonly ServerToCheck[],
  options: ServerCheckOptions,
): Promise<string[]> => {
  const different = servers.filter(({ url }, i) => servers.findIndex((other) => other.url === url) === i);
  return (await Promise.all(different.map((server) => problemsOf(server, options)))).flat();
};
