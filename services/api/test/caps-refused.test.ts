import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createPool } from '@signalbox/audit-store';
import { createApp } from '../src/http/app.ts';
import { capsClient, TENANT, userPath } from './caps-client.ts';
import { type Harness, openHarness } from './harness.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const { read } = capsClient(() => h);

describe('what is refused', () => {
  const BAD: readonly [name: string, body: unknown, path: string][] = [
    ['above what can be counted', { daily_usd: 9_000_001 }, 'daily_usd'],
    ['negative', { run_usd: -0.1 }, 'run_usd'],
    ['text', { monthly_usd: '5' }, 'monthly_usd'],
    ['finer than a nano-USD', { daily_usd: 0.0000000001 }, 'daily_usd'],
    ['an unknown field', { weekly_usd: 1 }, 'weekly_usd'],
    ['half a run', { max_concurrent_runs: 1.5 }, 'max_concurrent_runs'],
    ['an unknown zone', { time_zone: 'Mars/Olympus' }, 'time_zone'],
    ['an offset for a zone', { time_zone: '+02:00' }, 'time_zone'],
  ];
  for (const [name, json, path] of BAD) {
    test(name, async () => {
      const before = await read(TENANT);
      const response = await h.call('PUT', TENANT, { json });
      const problem = (await response.json()) as { code: string; errors: { path: string }[] };
      assert.deepEqual([response.status, problem.code], [422, 'invalid_request']);
      assert.ok(problem.errors.some((error) => error.path === path));
      assert.deepEqual(await read(TENANT), before);
    });
  }

  test('what only a tenant has, for a user; a name no user has', async () => {
    for (const field of ['user_daily_usd', 'max_concurrent_runs', 'time_zone']) {
      assert.equal((await h.call('PUT', userPath('u'), { json: { [field]: null } })).status, 422, field);
    }
    assert.equal((await h.call('GET', userPath('x'.repeat(257)))).status, 404);
  });

  test('a key without the scope', async () => {
    const reader = await h.key('default', ['runs:read']);
    const writer = await h.key('default', ['runs:write', 'agents:write', 'audit:read']);
    assert.equal((await h.call('GET', TENANT, { key: reader })).status, 200);
    assert.equal((await h.call('GET', TENANT, { key: writer })).status, 403);
    for (const path of [TENANT, userPath('u')]) {
      assert.equal((await h.call('PUT', path, { key: reader, json: {} })).status, 403);
    }
    assert.equal((await h.call('DELETE', userPath('u'), { key: reader })).status, 403);
  });

  test('a change that Postgres does not take: nothing is in force', async () => {
    const away = createPool({ databaseUrl: 'postgres://nobody@127.0.0.1:1/none', role: 'api' });
    const app = createApp({ ...h.deps, db: away });
    const before = await read(TENANT);
    const response = await app.fetch(
      new Request(`http://api${TENANT}`, {
        method: 'PUT',
        headers: { authorization: 'Bearer test-admin-key' },
        body: JSON.stringify({ daily_usd: 7 }),
      }),
    );
    assert.equal(response.status, 503);
    assert.equal(((await response.json()) as { code: string }).code, 'audit_store_unavailable');
    assert.deepEqual(await read(TENANT), before);
    await away.destroy();
  });
});
