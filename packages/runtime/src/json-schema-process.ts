/**
 * The process of json-schema.ts: answers each question with one message, in order; the first one says that it is there.
 * Owns the thread that computes. States: none -> idle <-> asked; a thread that does not answer in time, or runs out of
 * memory, is ended (none), and the answer is null. Ends with the process that made it.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { SchemaQuestion, SchemaVerdict } from './json-schema.ts';

/** Each after half of the limit: of a thread that says nothing, not even what it computed. */
const MOST_LOOKS = 40;
const MICROS_PER_MS = 1000;
const THREAD = new URL('./json-schema-thread.ts', import.meta.url);
/** Small young ones: Node ends a thread a little above its limit, and if it came by more at once, this process. */
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

const limitMs = Number(process.argv[2]);
let thread: Worker | null = null;

const answer = async (question: SchemaQuestion): Promise<void> => {
  thread ??= await startThread();
  const verdict = await ask(thread, question, limitMs);
  if (verdict === null) {
    const ended = thread;
    thread = null;
    await ended.terminate();
  }
  process.send?.(verdict);
};

process.on('message', (question: SchemaQuestion) => void answer(question));
process.on('disconnect', () => process.exit());
// Told to all of a group: who made this process ends it when nobody asks any more.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => undefined);
process.send?.('ready');
