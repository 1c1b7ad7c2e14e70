/** Redis is killed in the middle of runs and comes back with its append-only file: everybody waits, no run fails. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor, until } from '@signalbox/local';
import { settled, startSystem, taggedAgent, violations } from './stack.ts';

const RUNS = 30;
const AWAY_MS = 1500;

const system = await startSystem({ killsRedis: true });
after(() => system.stop());

/** About two seconds, most of it in two model calls. */
const SCRIPT = JSON.stringify({
  turns: [
    { delay_ms: 900, tool_calls: [{ name: 'calculator', arguments: { expression: '6 * 7' } }] },
    { delay_ms: 900, text: 'The answer is {{tool_results}}.' },
  ],
});

test(`Redis killed under ${RUNS} runs: nothing written is lost, no run fails`, async () => {
  const submit = async (n: number): Promise<string> =>
    (await system.api.submit({ agent: taggedAgent(`r${n}`), input: SCRIPT, user_id: 'u1' })).id;
  const ids = await Promise.all(Array.from({ length: RUNS }, (_, n) => submit(n)));
  await until('the runs to be in their first call', () => system.provider.ledger.length >= RUNS / 2);
  await system.redis.kill();
  const refused = await system.api.request('/v1/runs', {
    body: { agent: { model: 'mock/echo' }, input: 'nobody is there to take this' },
  });
  assert.deepEqual([refused.status, refused.json['code']], [503, 'state_unavailable']);
  await sleep(AWAY_MS);
  await system.redis.start();
  ids.push(
    await waitFor(() => submit(RUNS).catch(() => undefined), {
      what: 'the api to take runs again',
      timeoutMs: 60_000,
    }),
  );
  assert.deepEqual([...(await settled(system, ids, 90_000))], [['succeeded', ids.length]]);
  assert.deepEqual(await violations(system, null, { crashes: true }), []);
});
