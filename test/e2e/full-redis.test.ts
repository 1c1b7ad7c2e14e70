/**
 * Redis is full, for BullMQ too: it can neither renew its locks nor finish its jobs, so all of them count as stalled
 * and are given out again. The runs park with what their calls gave, and no completed call is made twice (R6, R9).
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '@signalbox/local';
import {
  demandOf,
  logged,
  parkedByPressure,
  readMemory,
  setMaxMemory,
  type Submitted,
  submitTagged,
  talk,
} from './pressure-world.ts';
import { providerRequests, settled, startSystem, violations } from './stack.ts';

const RUNS = 24;
const LEASE_SECONDS = 4;
/** Longer than BullMQ's locks last without being renewed. */
const CALL_MS = 7000;

let openCalls = 0;
const pause = (call: number): Promise<unknown> => {
  if (call === 1) openCalls += 1;
  return sleep(call === 1 ? CALL_MS : 200);
};
const system = await startSystem({
  leaseSeconds: LEASE_SECONDS,
  provider: { behave: talk({ calls: 3, answerBytes: 2000, pause }) },
});
after(() => system.stop());

const lockedJobs = async (): Promise<number> => {
  const { redis, root } = system.partition;
  const keys = await redis.keys(`${root}:activations:*:lock`);
  return keys.length;
};

test(`${RUNS} runs with open calls, and no byte left in Redis: all go on where they were`, async () => {
  const submitted: Submitted = { accepted: new Map(), refused: 0, strange: [] };
  await Promise.all(Array.from({ length: RUNS }, (_, n) => submitTagged(system, `r${n}`, submitted)));
  assert.deepEqual([submitted.accepted.size, submitted.strange], [RUNS, []]);
  const ids = [...submitted.accepted.values()];
  await until('the runs to be in their first call', () => openCalls === RUNS);
  const { used } = await readMemory(system);
  await setMaxMemory(system, used / 2);

  await until('BullMQ to lose its locks', async () => (await lockedJobs()) === 0);
  await until('all runs to park with their results', async () => (await parkedByPressure(system)) === RUNS);
  assert.ok((await logged(system, /"service":"worker".*OOM/)).length > 0, 'BullMQ met a full Redis');
  assert.equal((await demandOf(system)).pressureLevel, 3);
  const refused = await system.api.request('/v1/runs', {
    body: { agent: { model: 'mock/echo' }, input: 'there is no room for this' },
  });
  assert.ok(refused.status === 503 && Number(refused.headers.get('retry-after')) > 0);
  const [stopped = '', ...others] = ids;
  const aborted = await system.api.request(`/v1/runs/${stopped}/abort`, { method: 'POST' });
  assert.ok(aborted.status < 300, JSON.stringify(aborted.json));
  assert.equal((await system.api.end(stopped)).status, 'aborted');
  assert.equal((await system.api.request('/v1/runs?limit=100')).status, 200);
  assert.equal((await system.api.request('/readyz')).status, 200);

  await setMaxMemory(system, used * 100);
  await settled(system, others, 90_000);
  for (const id of others) assert.equal((await system.api.run(id)).status, 'succeeded');
  // No completed call is missing or was made again; a busy machine may lose an open one, which is announced anew.
  const requests = providerRequests(system.provider, submitted.accepted);
  assert.deepEqual(await violations(system, requests, { crashes: true }), []);
});
