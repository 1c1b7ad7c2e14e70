import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { LRUCache } from 'lru-cache';
import { RoundRobinQueue } from './round-robin-queue.ts';
import { sha256Hex } from './sealing.ts';

/**
 * JSON Schemas that somebody else wrote, held against texts that a model wrote. A pattern that backtracks or references
 * that multiply take for ever, or all memory there is, and a thread that runs out of memory may take its whole process
 * with it. So this is done in a thread of a process of its own, which is made when it is first asked.
 * Owns that process; one question at a time, and who asks take turns.
 *
 * States: none -> idle <-> asked; a process that has died is made anew, and what it was asked is asked once more, since
 * it may have been killed by somebody, or for another's memory. A schema that takes too long, ends its thread, or two
 * processes in a row, is condemned: it is not tried again.
 */

export type SchemaVerdict =
  | { readonly type: 'fits' }
  /** Text that is no JSON fits nothing. */
  | { readonly type: 'misfits' }
  /** It is no JSON Schema, or of a dialect that is not known. */
  | { readonly type: 'unusable'; readonly why: string }
  | { readonly type: 'too_slow' };

export interface SchemaQuestion {
  /** JSON text. */
  readonly schema: string;
  readonly text: string;
}

export interface JsonSchemas {
  /** On behalf of `asker`, a tenant. Dialects: 2020-12 (default), 2019-09, draft-07 and draft-06. */
  judge(asker: string, question: SchemaQuestion): Promise<SchemaVerdict>;
  close(): Promise<void>;
}

const LIMIT_MS = 500;
/** Processes that may die of one question. */
const MOST_DEATHS = 2;
const MOST_CONDEMNED = 10_000;
const PROCESS = fileURLToPath(new URL('./json-schema-process.ts', import.meta.url));

const startProcess = (limitMs: number): Promise<ChildProcess> =>
  new Promise((resolve, reject) => {
    // Nothing of this one's flags and secrets.
    const child = fork(PROCESS, [String(limitMs)], { execArgv: [], env: {}, stdio: 'ignore' });
    child.once('message', () => resolve(child));
    child.once('exit', (code, signal) =>
      reject(new Error(`the process for JSON Schemas ended at its start: ${signal ?? code}`)),
    );
    child.on('error', reject);
  });

/** Null: it took too long. */
const ask = (child: ChildProcess, question: SchemaQuestion): Promise<SchemaVerdict | null | 'died'> =>
  new Promise((resolve) => {
    const end = (verdict: SchemaVerdict | null | 'died'): void => {
      child.off('message', onMessage).off('exit', onExit);
      resolve(verdict);
    };
    const onMessage = (verdict: unknown): void => end(verdict as SchemaVerdict | null);
    const onExit = (): void => end('died');
    child.on('message', onMessage).on('exit', onExit);
    // One that has ended meanwhile tells it by its exit.
    child.send(question, () => undefined);
  });

/** Its exit and the end of its channel are told in any order. */
const lives = ({ connected, exitCode, signalCode }: ChildProcess): boolean =>
  connected && exitCode === null && signalCode === null;

/** Idle, it keeps no process from ending. */
const keep = (child: ChildProcess, isAsked: boolean): void => {
  for (const handle of [child, child.channel]) handle?.[isAsked ? 'ref' : 'unref']();
};

/** `limitMs`: what one answer may compute for, once the thread is there. */
export const createJsonSchemas = ({ limitMs = LIMIT_MS } = {}): JsonSchemas => {
  const condemned = new LRUCache<string, true>({ max: MOST_CONDEMNED });
  let child: ChildProcess | null = null;
  const line = new RoundRobinQueue<() => Promise<void>>();
  let working: Promise<void> | null = null;
  const ready = async (): Promise<ChildProcess> => {
    if (child === null || !lives(child)) child = await startProcess(limitMs);
    return child;
  };
  const judge = async (question: SchemaQuestion): Promise<SchemaVerdict> => {
    const id = sha256Hex(question.schema);
    if (condemned.get(id) === true) return { type: 'too_slow' };
    for (let deaths = 0; deaths < MOST_DEATHS; deaths += 1) {
      const asked = await ready();
      keep(asked, true);
      const verdict = await ask(asked, question);
      keep(asked, false);
      if (verdict === null) break;
      if (verdict !== 'died') return verdict;
    }
    condemned.set(id, true);
    return { type: 'too_slow' };
  };
  const workOff = async (): Promise<void> => {
    for (let next = line.take(); next !== undefined; next = line.take()) await next();
    working = null;
  };
  return {
    judge: (asker, question) =>
      new Promise((resolve, reject) => {
        line.add(asker, () => judge(question).then(resolve, reject));
        working ??= workOff();
      }),
    close: async () => {
      await working;
      if (child === null || !lives(child)) return;
      const ended = once(child, 'exit');
      keep(child, true);
      child.disconnect();
      await ended;
    },
  };
};
