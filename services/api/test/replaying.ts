import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Run } from '@signalbox/contracts';
import type { ReplayJob } from '../src/replays/replay-schemas.ts';
import { replayTurn, type TurnDeps } from '../src/replays/replay-turn.ts';
import { coolDown, storeAll } from './audit.ts';
import type { Harness } from './harness.ts';
import { finish } from './run-writer.ts';

export const NEVER = new AbortController().signal;

/** Ended runs of an agent of their own, stored and gone from Redis. */
export const storedRuns = async (h: Harness, count: number, agent: string, steps = 1): Promise<string[]> => {
  assert.equal((await h.call('PUT', `/v1/agents/${agent}`, { json: { model: 'mock/echo' } })).status, 201);
  const runs: Run[] = [];
  for (let n = 0; n < count; n += 1) runs.push(await h.submit({ agent, input: `input ${n}` }));
  for (const { id } of runs) await finish(h, id, steps);
  await storeAll(h);
  for (const { id } of runs) await coolDown(h, id);
  return runs.map(({ id }) => id);
};

export const start = async (h: Harness, json: object, headers = {}): Promise<ReplayJob> => {
  const response = await h.call('POST', '/v1/replays', { json, headers });
  const text = await response.text();
  assert.ok([200, 202].includes(response.status), text);
  return JSON.parse(text) as ReplayJob;
};

export const look = async (h: Harness, id: string): Promise<ReplayJob> =>
  (await (await h.call('GET', `/v1/replays/${id}`)).json()) as ReplayJob;

export const worker = (h: Harness): TurnDeps => ({ ...h.deps, owner: randomUUID() });

export const toTheEnd = async (h: Harness, id: string): Promise<ReplayJob> => {
  const deps = worker(h);
  while (await replayTurn(deps, NEVER));
  return look(h, id);
};

export const counts = (job: ReplayJob): number[] => {
  const { selected, identical, diverged, failed } = job.counts;
  return [selected, identical, diverged, failed];
};
