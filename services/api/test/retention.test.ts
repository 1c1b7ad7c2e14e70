import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createPool } from '@signalbox/audit-store';
import { createApp } from '../src/http/app.ts';
import { storeAll } from './audit.ts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';

const PATH = '/v1/retention';
const NONE = { content_days: null, event_days: null };

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

let tenants = 0;
const newTenant = async (): Promise<{ tenantId: string; options: CallOptions }> => {
  const tenantId = `tenant-${(tenants += 1)}`;
  return { tenantId, options: { key: await h.key(tenantId, ['admin']) } };
};
const read = async (options: CallOptions): Promise<unknown> => {
  const response = await h.call('GET', PATH, options);
  assert.equal(response.status, 200);
  return response.json();
};
const put = (json: object, options: CallOptions): Promise<Response> =>
  h.call('PUT', PATH, { ...options, json });
const changes = async (tenantId: string): Promise<unknown[]> => {
  await storeAll(h);
  const rows = await h.db
    .selectFrom('audit_events')
    .select('data')
    .where('type', '=', 'retention.changed')
    .where('tenant_id', '=', tenantId)
    .orderBy('seq')
    .execute();
  return rows.map(({ data }) => data);
};

test('periods are none until they are set; what is left out stays; each change is recorded, and only a change', async () => {
  const { tenantId, options } = await newTenant();
  assert.deepEqual(await read(options), NONE);
  const steps = [
    [
      { content_days: 30, event_days: 400 },
      { content_days: 30, event_days: 400 },
    ],
    [{ content_days: 30 }, { content_days: 30, event_days: 400 }],
    [{ content_days: 0 }, { content_days: 0, event_days: 400 }],
    [{ event_days: null }, { content_days: 0, event_days: null }],
    [{}, { content_days: 0, event_days: null }],
    [NONE, NONE],
  ] as const;
  for (const [wanted, expected] of steps) {
    const response = await put(wanted, options);
    assert.deepEqual([response.status, await response.json()], [200, expected]);
    assert.deepEqual(await read(options), expected);
  }
  assert.deepEqual(await changes(tenantId), [
    { before: NONE, after: steps[0][1] },
    { before: steps[0][1], after: steps[2][1] },
    { before: steps[2][1], after: steps[3][1] },
    { before: steps[3][1], after: NONE },
  ]);
});

describe('bounds', () => {
  for (const json of [
    { content_days: 0, event_days: 183 },
    { content_days: 183, event_days: 183 },
    { content_days: 3650, event_days: 3650 },
    { content_days: 3650, event_days: null },
  ]) {
    test(`${JSON.stringify(json)} is taken`, async () => {
      assert.equal((await put(json, (await newTenant()).options)).status, 200);
    });
  }
  for (const [path, json] of [
    ['event_days', { event_days: 182 }],
    ['event_days', { event_days: 0 }],
    ['event_days', { event_days: 3651 }],
    ['event_days', { event_days: 183.5 }],
    ['event_days', { event_days: '183' }],
    ['content_days', { content_days: -1 }],
    ['content_days', { content_days: 3651 }],
    ['content_days', { content_days: 184, event_days: 183 }],
    ['content_days', { content_days: 201 }],
    ['days', { days: 1 }],
  ] as const) {
    test(`${JSON.stringify(json)} is refused, and changes nothing`, async () => {
      const { tenantId, options } = await newTenant();
      const set = { content_days: 10, event_days: 200 };
      await put(set, options);
      const response = await put(json, options);
      const problem = (await response.json()) as { code: string; errors: { path: string }[] };
      assert.deepEqual([response.status, problem.code], [422, 'invalid_request']);
      assert.deepEqual(
        problem.errors.map((error) => error.path),
        [path],
      );
      assert.deepEqual(await read(options), set);
      assert.equal((await changes(tenantId)).length, 1);
    });
  }

  test('the floor of events is named', async () => {
    const problem = await (await put({ event_days: 30 }, (await newTenant()).options)).text();
    assert.match(problem, /183 days \(six months\) at least/);
  });
});

test('everybody who reads runs may see the periods; only an admin changes them; a tenant has its own', async () => {
  const { tenantId, options } = await newTenant();
  await put({ content_days: 7 }, options);
  const reader = { key: await h.key(tenantId, ['runs:read']) };
  assert.deepEqual(await read(reader), { content_days: 7, event_days: null });
  for (const scope of ['runs:read', 'runs:write', 'audit:read'] as const) {
    const response = await put({ content_days: 1 }, { key: await h.key(tenantId, [scope]) });
    assert.equal(response.status, 403, scope);
  }
  assert.deepEqual(await read((await newTenant()).options), NONE);
  assert.deepEqual(await read(options), { content_days: 7, event_days: null });
});

test('a change that Postgres does not take answers so, and leaves no trail', async () => {
  const { tenantId, options } = await newTenant();
  const away = createPool({ databaseUrl: 'postgres://nobody@127.0.0.1:1/none', role: 'api' });
  const app = createApp({ ...h.deps, db: away });
  const response = await app.fetch(
    new Request(`http://api${PATH}`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${options.key}` },
      body: JSON.stringify({ content_days: 1 }),
    }),
  );
  assert.equal(response.status, 503);
  assert.deepEqual([await read(options), await changes(tenantId)], [NONE, []]);
  await away.destroy();
});
