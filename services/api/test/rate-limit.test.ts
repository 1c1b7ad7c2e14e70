import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createApp } from '../src/http/app.ts';
import type { Api } from '../src/deps.ts';
import { createRateLimit } from '../src/http/rate-limit.ts';
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

const submit = async (app: Api, key: string, { runs }: { runs: number }): Promise<Response> =>
  app.fetch(
    new Request('http://api/v1/runs/batch', {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        runs: Array.from({ length: runs }, () => ({ agent: { model: 'mock/echo' }, input: 'x' })),
      }),
    }),
  );

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
  const counts = await redis.keys(`${root}:*rate:*`);
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

test('ten runs of a batch count as a request; one that is too much is refused whole, and leaves the rest to others', async () => {
  const key = await h.key('batches', ['runs:read', 'runs:write']);
  const app = limited();
  assert.equal((await submit(app, key, { runs: 10 * (BURST - 2) })).status, 202);
  const { redis, root } = h.deps.partition;
  const before = (await redis.keys(`${root}:run:*`)).length;
  const refused = await submit(app, key, { runs: 30 });
  const { code } = (await refused.json()) as { code: string };
  assert.deepEqual([refused.status, code], [429, 'rate_limited']);
  assert.ok(Number(refused.headers.get('retry-after')) >= 1);
  assert.ok(before > 0, 'runs are found by their keys');
  assert.equal((await redis.keys(`${root}:run:*`)).length, before, 'nothing written');
  assert.equal((await ask(app, key)).status, 200, 'the last of the window');
  assert.equal((await ask(app, key)).status, 429);
});

test('a batch that is more than a window allows takes all of one', async () => {
  const key = await h.key('large-batches', ['runs:read', 'runs:write']);
  assert.equal((await submit(limited(), key, { runs: 20 * BURST })).status, 202);
  assert.equal((await ask(limited(), key)).status, 429);
});

test('the keys of a tenant make ten times as many together, however many there are', async () => {
  const keys = await Promise.all(Array.from({ length: 11 }, () => h.key('many-keys', ['runs:read'])));
  const app = limited();
  const statuses = await Promise.all(
    keys
      .slice(0, 10)
      .flatMap((key) => Array.from({ length: BURST }, async () => (await ask(app, key)).status)),
  );
  assert.deepEqual(new Set(statuses), new Set([200]));
  const refused = await ask(app, keys[10] ?? '');
  const { detail } = (await refused.json()) as { detail: string };
  assert.equal(refused.status, 429);
  assert.match(detail, /keys of this tenant together made more than 100 requests/);
  assert.equal((await ask(app, await h.key('few-keys', ['runs:read']))).status, 200);
});

test('what one key is refused for does not count for its tenant', async () => {
  const [eager, calm] = [await h.key('shared', ['runs:read']), await h.key('shared', ['runs:read'])];
  const app = limited();
  for (let i = 0; i < BURST * 11; i += 1) await ask(app, eager);
  assert.equal((await ask(app, calm)).status, 200);
});

test('who is refused from memory costs Redis no count', async (t) => {
  const key = await h.key('remembered', ['runs:read']);
  const app = limited();
  for (let i = 0; i <= BURST; i += 1) await ask(app, key);
  const { mock: sent } = t.mock.method(h.deps.partition.redis, 'sendCommand');
  assert.equal((await ask(app, key)).status, 429);
  const names = sent.calls.map(({ arguments: [command] }) => command.name);
  assert.deepEqual(names, ['get'], 'who it is, and no count');
});

test('requests of one key that are refused side by side do not count for its tenant either', async () => {
  const [eager, calm] = [await h.key('burst', ['runs:read']), await h.key('burst', ['runs:read'])];
  const app = limited();
  await Promise.all(Array.from({ length: BURST * 15 }, () => ask(app, eager)));
  assert.equal((await ask(app, calm)).status, 200);
});

test('0 means no limit', async () => {
  const key = await h.key('default', ['runs:read']);
  const statuses = await Promise.all(
    Array.from({ length: BURST * 3 }, async () => (await ask(h.app, key)).status),
  );
  assert.deepEqual(new Set(statuses), new Set([200]));
});
