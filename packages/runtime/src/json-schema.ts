import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { LRUCache } from 'lru-cache';
import { RoundRobinQueue } from './round-robin-queue.ts';
import { sha256Hex } from './sealing.ts';

/**
 * JSON Schemas that somebody else wrote, held against texts that a model wrote. A pattern that backtracks or references
 * that multiply take for ever, and would hold up all else in the process, so this is done in a thread of its own.
 * Owns the thread; one question at a time, and who asks take turns.
 *
 * States: none -> idle <-> asked; a thread that does not answer in time, or runs out of memory, is ended (none), and its
 * schema is condemned: it is not tried again.
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
/** Each after half of the limit: of a thread that says nothing, not even what it computed. */
const MOST_LOOKS = 40;
const MICROS_PER_MS = 1000;
const MOST_CONDEMNED = 10_000;
const THREAD = new URL('./json-schema-thread.ts', import.meta.url);
/** Node ends a thread a little above its limit; one that came by more at once would end the process with it. */
const RESOURCES = { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 4 };

const startThread = async (): Promise<Worker> => {
  const thread = new Worker(THREAD, { resourceLimits: RESOURCES });
  await once(thread, 'message');
  // Out of memory: whoever asked hears of it, and without a listener it would end the process.
  thread.on('error', () => undefined);
  return thread;
};

/**
 * Null: no answer in time, or the thread has died. Time is what the thread itself computed: a machine or a process that
 * is busy with other things, or stands still, condemns nothing.
 */
const ask = async (
  thread: Worker,
  question: SchemaQuestion,
  limitMs: number,
): Promise<SchemaVerdict | null> => {
  const begun = await thread.cpuUsage();
  return new Promise((resolve) => {
    let looks = 0;
    const end = (verdict: SchemaVerdict | null): void => {
      clearInterval(timer);
      thread.off('message', end).off('exit', died);
      resolve(verdict);
    };
    const died = (): void => end(null);
    const look = async (): Promise<void> => {
      looks += 1;
      if (looks > MOST_LOOKS) return died();
      const { user, system } = await thread.cpuUsage(begun);
      if ((user + system) / MICROS_PER_MS >= limitMs) died();
    };
    const timer = setInterval(() => void look().catch(died), limitMs / 2);
    thread.on('message', end).on('exit', died);
    thread.postMessage(question);
  });
};

/** `limitMs`: what one answer may compute for, once the thread is there. */
export const createJsonSchemas = ({ limitMs = LIMIT_MS } = {}): JsonSchemas => {
  const condemned = new LRUCache<string, true>({ max: MOST_CONDEMNED });
  let thread: Worker | null = null;
  const line = new RoundRobinQueue<() => Promise<void>>();
  let working: Promise<void> | null = null;
  const endThread = async (): Promise<void> => {
    const ended = thread;
    thread = null;
    await ended?.terminate();
  };
  const judge = async (question: SchemaQuestion): Promise<SchemaVerdict> => {
    const id = sha256Hex(question.schema);
    if (condemned.get(id) === true) return { type: 'too_slow' };
    thread ??= await startThread();
    thread.ref();
    const verdict = await ask(thread, question, limitMs);
    if (verdict !== null) {
      // Idle, it keeps no process from ending.
      thread.unref();
      return verdict;
    }
    condemned.set(id, true);
    await endThread();
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
      await endThread();
    },
  };
};
