/** A request that is repeated makes no second run: not after Redis lost everything, and not after a change of keys. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { startService, temporaryDir, waitFor } from '@signalbox/local';
import { type ApiClient, createClient } from './client.ts';
import { settled, startSystem, type System } from './stack.ts';

const key = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`;
const [OLD, NEW] = [key('old'), key('new')];
const LATER = new Date(Date.now() + 3_600_000).toISOString();
const echo = (input: string, more: object = {}) => ({ agent: { model: 'mock/echo' }, input, ...more });
const SECRET = 'the-input-nobody-may-guess';

const post = async (api: ApiClient, body: object): Promise<[number, unknown]> => {
  const answer = await waitFor(
    async () => {
      const { status, json } = await api.request('/v1/runs', {
        body,
        headers: { 'idempotency-key': 'order-17' },
      });
      return status === 503 ? undefined : ([status, json['id'] ?? json['code']] as [number, unknown]);
    },
    { what: 'the api to take requests again', timeoutMs: 60_000 },
  );
  return answer;
};

/** Another api of the system, after a rotation: the new key encrypts, the old one still decrypts. */
const rotated = async (system: System): Promise<ApiClient> => {
  const env = { ...process.env, ...system.env, ENCRYPTION_KEYS: `${NEW},${OLD}`, PORT: '0' };
  const logDir = join(await temporaryDir(), 'logs');
  const api = await startService({ name: 'api-rotated', entry: 'services/api/src/main.ts', env, logDir });
  after(() => api.stop());
  return createClient(api.url, system.api.key);
};

test('the same key gives the same run after FLUSHALL and after a rotation; another body is refused', async () => {
  const system = await startSystem({ workers: 1, env: { ENCRYPTION_KEYS: OLD } });
  after(() => system.stop());
  const body = echo(SECRET);
  const [status, id] = await post(system.api, body);
  assert.equal(status, 202);
  const waiting = await system.api.submit(echo('later', { run_at: LATER }), {
    'idempotency-key': 'order-18',
  });
  await settled(system, [String(id)]);

  const other = await rotated(system);
  assert.deepEqual(await post(other, body), [200, id]);
  assert.deepEqual(await post(other, echo('another')), [422, 'idempotency_mismatch']);

  await system.partition.redis.flushall();
  assert.deepEqual(await post(system.api, body), [200, id]);
  assert.deepEqual(await post(system.api, echo('another')), [422, 'idempotency_mismatch']);
  assert.deepEqual(await post(other, body), [200, id]);
  const again = await system.api.submit(echo('later', { run_at: LATER }), { 'idempotency-key': 'order-18' });
  assert.equal(again.id, waiting.id);
  const { json } = await system.api.request('/v1/runs');
  assert.equal((json['data'] as unknown[]).length, 2);
  const record = await system.partition.redis.keys(`${system.partition.root}:idem:*`);
  assert.equal(record.length, 2);
  assert.ok(!record.join().includes('order-1'));
});
