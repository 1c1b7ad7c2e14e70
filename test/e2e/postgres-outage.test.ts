/** Must show 8: Postgres stops while runs are submitted and go on. No run fails, and afterwards everything is there. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { countStatuses, FULL, settled, startSystem, THREE_STEPS, violations } from './stack.ts';

const OUTAGE_MS = FULL ? 30_000 : 5000;

const system = await startSystem({ ownPostgres: true });
after(() => system.stop());

const AGENT = {
  instructions: 'Calculate.',
  model: 'openai/gpt-4o-mini',
  tools: ['calculator'],
};

const submit = async (agent: unknown): Promise<string> =>
  (await system.api.submit({ agent, input: THREE_STEPS, user_id: 'u1' })).id;

test(`Postgres away for ${OUTAGE_MS / 1000} s: runs start, go on and end; then all of it is stored`, async () => {
  const put = await system.api.request('/v1/agents/sums', { method: 'PUT', body: AGENT });
  assert.ok(put.status < 300, JSON.stringify(put.json));
  const earlier = await Promise.all(Array.from({ length: 5 }, () => submit('sums')));
  const ids = [...earlier];

  await system.postgres?.stop('immediate');
  const stoppedAt = performance.now();
  while (performance.now() - stoppedAt < OUTAGE_MS) {
    ids.push(await submit('sums'), await submit(AGENT));
    await sleep(50);
  }
  const during = ids.slice(earlier.length);
  const ended = await Promise.all(during.slice(0, 20).map((id) => system.api.end(id)));
  assert.ok(ended.every(({ status, output }) => status === 'succeeded' && output === 'The answer is 42.'));
  assert.equal((await system.api.events(during[0] ?? '')).at(-1)?.type, 'run.succeeded');

  const ready = await system.api.request('/readyz');
  assert.deepEqual([ready.status, ready.json['status']], [200, 'degraded']);
  const list = await system.api.request('/v1/runs');
  assert.deepEqual([list.status, list.json['code']], [503, 'audit_store_unavailable']);
  assert.ok((await system.partition.redis.xlen(`${system.partition.root}:audit`)) > 0);
  assert.equal((await countStatuses(system, ids)).get('failed') ?? 0, 0);

  await system.postgres?.start();
  assert.deepEqual([...(await settled(system, ids))], [['succeeded', ids.length]]);
  assert.deepEqual(await violations(system), []);
  const listed = await system.api.request('/v1/runs?limit=100');
  assert.equal(listed.status, 200);
  assert.equal((await system.api.request('/readyz')).json['status'], 'ok');
  process.stdout.write(`${during.length} runs submitted while Postgres was away, ${ids.length} stored\n`);
});
