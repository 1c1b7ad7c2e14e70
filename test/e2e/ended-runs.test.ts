/** Once a run has ended, Postgres has it and its time in Redis is over, no key there is its or names it but to repeat its answer. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { until } from '@signalbox/local';
import { runKey } from '@signalbox/run-state';
import { snapshot } from '../../packages/run-state/test/inspect.ts';
import { startSystem, THREE_STEPS } from './stack.ts';

const system = await startSystem({ workers: 1, env: { RUN_TTL_SECONDS: '1', HIBERNATE_AFTER_SECONDS: '1' } });
after(() => system.stop());
const { api, partition } = system;

const CALCULATES = {
  agent: { model: 'mock/script', tools: ['calculator'] },
  input: THREE_STEPS,
  user_id: 'u1',
};
const WAITS = {
  agent: { model: 'mock/script', tools: ['wait'] },
  input: JSON.stringify({
    turns: [{ tool_calls: [{ name: 'wait', arguments: { seconds: 6 } }] }, { text: 'done' }],
  }),
};
const LATER = {
  agent: { model: 'mock/echo' },
  input: 'x',
  run_at: new Date(Date.now() + 3_600_000).toISOString(),
};

const gone = (id: string): Promise<true> =>
  until(`${id} to leave Redis`, async () => (await partition.redis.exists(runKey(partition, id))) === 0);

test('nothing of an ended run is left in Redis, and the api answers from Postgres', async () => {
  const headers = { 'idempotency-key': 'first' };
  const [ended, slept, aborted] = [
    (await api.submit(CALCULATES, headers)).id,
    (await api.submit(WAITS)).id,
    (await api.submit(LATER)).id,
  ];
  await until(
    'both that wait to hibernate',
    async () => (await partition.redis.zcard(`${partition.root}:asleep`)) === 2,
  );
  assert.equal((await api.request(`/v1/runs/${aborted}/abort`, { method: 'POST' })).status, 202);
  const runs = await Promise.all([ended, slept, aborted].map((id) => api.end(id)));
  await Promise.all(runs.map(({ id }) => gone(id)));

  // BullMQ's log of its last 10,000 jobs, of which a run's id is part, is not the run's.
  const everything = Object.entries(await snapshot(partition));
  const here = everything.filter(([key]) => key !== `${partition.root}:activations:events`);
  for (const { id } of runs) {
    const naming = here.filter(([key, value]) => key.includes(id) || JSON.stringify(value).includes(id));
    assert.deepEqual(
      naming.map(([key]) => key.replace(/idem:.*/, 'idem')),
      id === ended ? [`${partition.root}:idem`] : [],
    );
  }
  const of = (status: string, output: string | null) => ({ status, output });
  const again = await Promise.all(runs.map(({ id }) => api.run(id)));
  assert.deepEqual(
    again.map(({ status, output }) => of(status, output)),
    [of('succeeded', 'The answer is 42.'), of('succeeded', 'done'), of('aborted', null)],
  );
  const [events, steps] = [await api.events(ended), await api.request(`/v1/runs/${ended}/steps`)];
  assert.equal(events.at(-1)?.type, 'run.succeeded');
  assert.equal((steps.json['data'] as unknown[]).length, 3);
  const repeated = await api.request('/v1/runs', { body: CALCULATES, headers });
  assert.deepEqual(
    [repeated.status, repeated.json['id'], repeated.json['status']],
    [200, ended, 'succeeded'],
  );
  const stop = await api.request(`/v1/runs/${slept}/abort`, { method: 'POST' });
  assert.deepEqual([stop.status, stop.json['code']], [409, 'run_terminal']);
});
