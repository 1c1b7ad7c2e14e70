/** A Redis with little memory, and what happens to it: for the tests of backpressure (R9). */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Demand, readDemand } from '@signalbox/run-state';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FakeReply, FakeRequest } from '../support/fake-provider/types.ts';
import { type System, taggedAgent } from './stack.ts';

export interface Talk {
  readonly calls: number;
  readonly answerBytes: number;
  /** Before the answer to this call, the first being 1. */
  readonly pause: (call: number) => Promise<unknown>;
}

/** Runs of so many model calls with a tool between them; each answer is so long. */
export const talk =
  (options: Talk) =>
  async ({ messages }: FakeRequest): Promise<FakeReply> => {
    const call = messages.filter(({ role }) => role === 'assistant').length + 1;
    await options.pause(call);
    const reply = {
      text: 'blah '.repeat(options.answerBytes / 5),
      usage: { input_tokens: 100, output_tokens: 50 },
    };
    if (call >= options.calls) return reply;
    const calculate = { id: `c${call}`, name: 'calculator', arguments: `{"expression":"${call} * 7"}` };
    return { ...reply, toolCalls: [calculate] };
  };

const fieldOf = (info: string, name: string): number =>
  Number(new RegExp(`\\n${name}:(\\d+)`).exec(info)?.[1]);

export const readMemory = async ({ partition }: System): Promise<{ used: number; most: number }> => {
  const info = await partition.redis.info('memory');
  return { used: fieldOf(info, 'used_memory'), most: fieldOf(info, 'maxmemory') };
};

export const setMaxMemory = async ({ partition }: System, bytes: number): Promise<void> => {
  await partition.redis.config('SET', 'maxmemory', String(Math.floor(bytes)));
};

export const demandOf = ({ partition }: System): Promise<Demand> => readDemand(partition, Date.now());

export const parkedByPressure = ({ partition }: System): Promise<number> =>
  partition.redis.zcard(`${partition.root}:pressured`);

export interface Watched {
  /** Largest part of maxmemory that was ever in use. */
  mostShare: number;
  readonly levels: Set<number>;
  mostParked: number;
  looks: number;
}

/** Looks many times a second, until it is told to stop. */
export const watch = (system: System, stop: AbortSignal): { seen: Watched; done: Promise<void> } => {
  const seen: Watched = { mostShare: 0, levels: new Set(), mostParked: 0, looks: 0 };
  const look = async (): Promise<void> => {
    const [{ used, most }, demand, parked] = await Promise.all([
      readMemory(system),
      demandOf(system),
      parkedByPressure(system),
    ]);
    seen.mostShare = Math.max(seen.mostShare, used / most);
    seen.levels.add(demand.pressureLevel);
    seen.mostParked = Math.max(seen.mostParked, parked);
    seen.looks += 1;
  };
  const keepLooking = async (): Promise<void> => {
    while (!stop.aborted) {
      // A look that a busy machine answers too late is one look less; how many there were is told.
      await look().catch(() => undefined);
      await sleep(25);
    }
  };
  return { seen, done: keepLooking() };
};

export interface Submitted {
  /** Run by tag. */
  readonly accepted: Map<string, string>;
  refused: number;
  /** What a client may not see, or not so. */
  readonly strange: string[];
}

const INPUT_BYTES = 30_000;

export const submitTagged = async (system: System, tag: string, submitted: Submitted): Promise<boolean> => {
  const { status, headers, json } = await system.api.request('/v1/runs', {
    body: { agent: taggedAgent(tag), input: 'talk '.repeat(INPUT_BYTES / 5), limits: { max_steps: 50 } },
  });
  if (status === 202) submitted.accepted.set(tag, String(json['id']));
  else if (status === 503 && json['code'] === 'audit_backlog' && Number(headers.get('retry-after')) > 0)
    submitted.refused += 1;
  else submitted.strange.push(`${status} ${JSON.stringify(json)}`);
  return status === 202;
};

/** Clients that submit one run after the other, and do not stay away for as long as they are asked to. */
export const keepSubmitting = (
  system: System,
  options: { clients: number; pauseMs: number; stop: AbortSignal },
): { submitted: Submitted; done: Promise<unknown> } => {
  const submitted: Submitted = { accepted: new Map(), refused: 0, strange: [] };
  const client = async (name: number): Promise<void> => {
    for (let n = 0; !options.stop.aborted; n += 1) {
      const taken = await submitTagged(system, `c${name}.${n}`, submitted);
      await sleep(taken ? options.pauseMs : 10 * options.pauseMs);
    }
  };
  const clients = Array.from({ length: options.clients }, (_, name) => client(name));
  return { submitted, done: Promise.all(clients) };
};

/** Lines that the services logged. */
export const logged = async ({ stack }: System, pattern: RegExp): Promise<string[]> => {
  const files = await readdir(stack.logDir);
  const texts = await Promise.all(files.map((file) => readFile(join(stack.logDir, file), 'utf8')));
  return texts.flatMap((text) => text.split('\n').filter((line) => pattern.test(line))).slice(0, 5);
};

/** By run of the journal in Postgres: what a run that left Redis came to. */
export const storedStatuses = async ({ db }: System): Promise<Map<string, string>> =>
  new Map(
    (await db.selectFrom('runs').select(['id', 'status']).execute()).map(({ id, status }) => [id, status]),
  );
