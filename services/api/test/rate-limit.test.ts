import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createApp } from '../src/app.ts';
import type { Api } from '../src/deps.ts';
import { createRateLimit } from '../src/rate-limit.ts';
import { type Harness, openHarness } from './harness.ts';

const PER_SECOND = 1;
/** The window is 10 s. */
const BURST = 10;

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const limited = (): Api => createApp({ ...h.deps, rateLimit: createRateLimit(h.deps.partition, PER_SECOND) });

const ask = async (app: Api, key: string | null, path = '/v1/providers'): Promise<Response> => {
  const headers: Record<string, string> = key === null ? {} : { authorization: `Bearer ${key}` };
  return app.fetch(new Request(`http://api${path}`, { headers }));
};

test('a key gets its requests and no more, counted over all processes; the others go on', async () => {
  const [eager, calm] = [await h.key('default', ['runs:read']), await h.key('default', ['runs:read'])];
  const apps = [limited(), limited()];
  const responses = await Promise.all(
    Array.from({ length: BURST + 5 }, (_, i) => ask(apps[i % 2] ?? limited(), eager)),
  );
  const statuses = responses.map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 200).length, BURST);
  const refused = responses.find(({ status }) => status === 429) ?? assert.fail('none refused');
  const problem = (await refused.json()) as { code: string; title: string };
  assert.equal(problem.code, 'rate_limited');
  assert.equal(refused.headers.get('content-type'), 'application/problem+json');
  const wait = Number(refused.headers.get('retry-after'));
  assert.ok(Number.isInteger(wait) && wait >= 1 && wait <= 10, String(wait));
  for (const app of apps) {
    assert.equal((await ask(app, calm)).status, 200);
    assert.equal((await ask(app, eager, '/healthz')).status, 200);
    assert.equal((await ask(app, eager, '/metrics')).status, 200);
  }
});

test('when the window is over the key is served again', async () => {
  const key = await h.key('default', ['runs:read']);
  for (let i = 0; i <= BURST; i += 1) await ask(limited(), key);
  assert.equal((await ask(limited(), key)).status, 429);
  const { redis, root } = h.deps.partition;
  const counts = await redis.keys(`${root}:rate:*`);
  for (const count of counts) {
    assert.ok((await redis.pttl(count)) > 0, 'a count does not stay');
    await redis.pexpire(count, 0);
  }
  assert.equal((await ask(limited(), key)).status, 200);
});

test('a request that may not be made counts too; one without a key does not', async () => {
  const key = await h.key('default', ['runs:write']);
  const app = limited();
  for (let i = 0; i < BURST; i += 1) assert.equal((await ask(app, key)).status, 403);
  assert.equal((await ask(app, key)).status, 429);
  for (let i = 0; i <= BURST; i += 1) assert.equal((await ask(app, null)).status, 401);
});

test('0 means no limit', async () => {
  const key = await h.key('default', ['runs:read']);
  const statuses = await Promise.all(
    Array.from({ length: BURST * 3 }, async () => (await ask(h.app, key)).status),
  );
  assert.deepEqual(new Set(statuses), new Set([200]));
});
