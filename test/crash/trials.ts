import { randomUUID } from 'node:crypto';
import { waitFor } from '@signalbox/local';
import { messageOf } from '@signalbox/runtime';
import { allStored } from '../support/all-stored.ts';
import { createClient } from '../e2e/client.ts';
import { taggedAgent } from '../e2e/stack.ts';
import { openTrial, type Trial } from './crashes.ts';
import type { Row } from './row.ts';
import type { World } from './world.ts';

/** Longer than a run takes that lost two processes on a slow machine. */
const END_MS = 180_000;
const REACHED_MS = 60_000;

export type Model = 'anthropic/claude-haiku-4-5' | 'openai/gpt-4o-mini';

export interface Outcome {
  readonly row: Row;
  readonly trial: Trial;
  readonly runId: string;
  /** Null: it went as planned. */
  readonly error: string | null;
}

const scriptOf = ({ method, waitSeconds }: Row, toolUrl: string, tag: string): string =>
  JSON.stringify({
    turns: [
      {
        tool_calls: [
          { name: 'http_request', arguments: { method, url: `${toolUrl}/tool/${tag}` } },
          { name: 'calculator', arguments: { expression: '6 * 7' } },
        ],
      },
      { tool_calls: [{ name: 'wait', arguments: { seconds: waitSeconds } }] },
      { text: 'done' },
    ],
  });

const bodyOf = (row: Row, world: World, tag: string, model: Model): object => ({
  agent: taggedAgent(tag, { model, tools: ['http_request', 'calculator', 'wait'] }),
  input: scriptOf(row, world.toolUrl, tag),
  user_id: tag,
});

const reached = (trial: Trial, stops: number): Promise<true> =>
  waitFor(() => (trial.reached.length >= stops ? true : undefined), {
    what: `${stops} stops of ${trial.run.tag}`,
    timeoutMs: REACHED_MS,
  });

/** By Postgres: Redis may be lost meanwhile, and the api answer that one should try again. */
const ended = ({ system }: World, runId: string): Promise<true> =>
  waitFor(
    async () => {
      const query = system.db.selectFrom('runs').select('status').where('id', '=', runId);
      const found = await query.executeTakeFirst().catch(() => undefined);
      return ['succeeded', 'failed', 'aborted'].includes(found?.status ?? '') ? true : undefined;
    },
    { what: `run ${runId} to end`, timeoutMs: END_MS, everyMs: 100 },
  );

const loseRedis = async ({ system }: World, trial: Trial): Promise<void> => {
  await reached(trial, 1);
  await allStored(system.partition, REACHED_MS);
  await system.partition.redis.flushall();
};

/** The api dies under the client, who sends the same request again to another one. */
const submitTwice = async (world: World, trial: Trial, body: object): Promise<string> => {
  const { system } = world;
  const headers = { 'idempotency-key': trial.run.tag };
  const url = trial.member?.process?.url ?? '';
  const first = await createClient(url, system.api.key)
    .submit(body, headers)
    .catch(() => null);
  await reached(trial, 1);
  const second = await system.api.submit(body, headers);
  if (first !== null && first.id !== second.id) throw new Error(`${first.id} and ${second.id} for one key`);
  return second.id;
};

const tryRow = async (world: World, row: Row, model: Model): Promise<Outcome> => {
  const { system, crashes } = world;
  const tag = `crash-${randomUUID()}`;
  const isSubmit = row.stops[0]?.service === 'api';
  const member = isSubmit ? await world.fleet('api').add() : null;
  const trial = openTrial(tag, row.stops, member);
  crashes.arm(trial);
  const body = bodyOf(row, world, tag, model);
  let error: string | null = null;
  try {
    trial.run.id = isSubmit ? await submitTwice(world, trial, body) : (await system.api.submit(body)).id;
    if (row.losesRedis) await loseRedis(world, trial);
    await ended(world, trial.run.id);
    // What happens after the end of a run is a gap, too; one that was not reached by then is the verdict's.
    await reached(trial, row.stops.length).catch(() => undefined);
  } catch (failure) {
    error = messageOf(failure);
  } finally {
    crashes.disarm(trial);
  }
  return { row, trial, runId: trial.run.id ?? '', error };
};

/** So many rows at a time, in their order. */
export const tryRows = async (
  world: World,
  rows: readonly Row[],
  { atOnce, model }: { readonly atOnce: number; readonly model: Model },
): Promise<Outcome[]> => {
  const waiting = [...rows];
  const outcomes: Outcome[] = [];
  const lane = async (): Promise<void> => {
    for (let row = waiting.shift(); row !== undefined; row = waiting.shift())
      outcomes.push(await tryRow(world, row, model));
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return outcomes;
};
