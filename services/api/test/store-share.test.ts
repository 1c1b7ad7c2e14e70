import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { withCapsLocked } from '@signalbox/audit-store';
import { createStoreShare, SHARES, type StoreShare, type StoreUse } from '../src/audit/store-share.ts';
import { type Harness, openHarness } from './harness.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

interface Held {
  /** How many have begun. */
  readonly begun: () => number;
  readonly open: () => void;
  readonly done: Promise<unknown>;
}

/** Reads that last until they are let go. */
const hold = (share: StoreShare, tenantId: string, use: StoreUse, { reads }: { reads: number }): Held => {
  const gate = Promise.withResolvers<void>();
  let begun = 0;
  const done = Promise.all(
    Array.from({ length: reads }, () =>
      share.take(tenantId, use, () => {
        begun += 1;
        return gate.promise;
      }),
    ),
  );
  return { begun: () => begun, open: gate.resolve, done };
};

/** What one tenant may have under way and in line. */
const full = (use: StoreUse): number => SHARES[use].atOnce + SHARES[use].inLine;

test('a tenant reads three lists at once; some wait their turn, the next is refused, and no other tenant', async () => {
  const share = createStoreShare();
  const reads = full('list');
  const held = hold(share, 'eager', 'list', { reads });
  const nothing = (): Promise<string> => Promise.resolve('read');
  await assert.rejects(share.take('eager', 'list', nothing), { code: 'rate_limited', retryAfter: 1 });
  assert.equal(await share.take('calm', 'list', nothing), 'read');
  assert.equal(await share.take('eager', 'verify', nothing), 'read', 'other reads have a line of their own');
  assert.equal(held.begun(), 3);
  const late = share.take('eager', 'list', nothing, { begun: true });
  held.open();
  await held.done;
  assert.deepEqual([held.begun(), await late], [reads, 'read']);
  assert.equal(await share.take('eager', 'list', nothing), 'read');
});

test('a read that fails makes room for the next', async () => {
  const share = createStoreShare();
  const fail = (): Promise<never> => Promise.reject(new Error('away'));
  const results = await Promise.allSettled([1, 2, 3].map(() => share.take('t', 'verify', fail)));
  assert.deepEqual(
    results.map((result) => (result.status === 'rejected' ? String(result.reason) : '')),
    ['Error: away', 'Error: away', 'Error: away'],
  );
});

const USES: readonly (readonly [method: string, path: string, use: StoreUse, json?: object])[] = [
  ['GET', '/v1/runs', 'list'],
  ['GET', '/v1/audit?actor=x', 'list'],
  ['GET', '/v1/costs', 'list'],
  ['GET', '/v1/agents', 'list'],
  ['GET', '/v1/keys', 'list'],
  ['POST', '/v1/audit/verify', 'verify'],
  ['GET', '/v1/audit/export', 'export'],
  ['PUT', '/v1/agents/shared', 'publish', { model: 'mock/echo' }],
  ['PUT', '/v1/caps/tenant', 'change', { daily_usd: 5 }],
  ['PUT', '/v1/caps/users/u1', 'change', { daily_usd: 5 }],
  ['DELETE', '/v1/caps/users/u1', 'change'],
  ['PUT', '/v1/legal-hold', 'change', { held: false }],
  ['PUT', '/v1/retention', 'change', { content_days: 30 }],
  ['POST', '/v1/keys', 'change', { name: 'one', scopes: ['runs:read'] }],
  ['PUT', '/v1/providers/openai/key', 'change', { key: 'sk-of-a-tenant-and-long-enough' }],
  ['DELETE', '/v1/providers/openai/key', 'change'],
];

for (const [method, path, use, json] of USES) {
  test(`${method} ${path} has its turn in the share of its tenant`, async () => {
    const [eager, calm] = [await h.key('eager', ['admin']), await h.key('calm', ['admin'])];
    const held = hold(h.deps.storeShare, 'eager', use, { reads: full(use) });
    const ask = (key: string): Promise<Response> => h.call(method, path, { key, json });
    const refused = await ask(eager);
    const others = await ask(calm);
    await others.text();
    held.open();
    await held.done;
    const { code } = (await refused.json()) as { code: string };
    assert.deepEqual([refused.status, code], [429, 'rate_limited']);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    assert.ok(others.ok, String(others.status));
    const again = await ask(eager);
    await again.text();
    assert.ok(again.ok, 'and goes on when there is room');
  });
}

test('who has used up its share still submits, reads and aborts runs', async () => {
  const key = await h.key('busy', ['admin']);
  const uses = Object.keys(SHARES) as StoreUse[];
  const held = uses.map((use) => hold(h.deps.storeShare, 'busy', use, { reads: full(use) }));
  const { id } = await h.submit({}, { key });
  const read = await h.call('GET', `/v1/runs/${id}`, { key });
  const aborted = await h.call('POST', `/v1/runs/${id}/abort`, { key, json: {} });
  for (const { open } of held) open();
  await Promise.all(held.map(({ done }) => done));
  assert.deepEqual([read.status, aborted.status], [200, 202]);
});

test('a change of one thing, too: a run that is erased or held, a key that is revoked', async () => {
  const key = await h.key('keeper', ['admin']);
  const { id } = await h.submit({}, { key });
  const made = await h.call('POST', '/v1/keys', { key, json: { name: 'one', scopes: ['runs:read'] } });
  const { id: keyId } = (await made.json()) as { id: string };
  const held = hold(h.deps.storeShare, 'keeper', 'change', { reads: full('change') });
  const answers = await Promise.all([
    h.call('DELETE', `/v1/runs/${id}/content`, { key }),
    h.call('PUT', `/v1/runs/${id}/legal-hold`, { key, json: { held: true } }),
    h.call('DELETE', `/v1/keys/${keyId}`, { key }),
  ]);
  held.open();
  await held.done;
  assert.deepEqual(
    answers.map(({ status }) => status),
    [429, 429, 429],
  );
  assert.equal((await h.call('DELETE', `/v1/keys/${keyId}`, { key })).status, 200);
});

test('the steps of a run, which may be all that was said in it, have their turn too', async () => {
  const [key, calm] = [await h.key('looker', ['admin']), await h.key('calm', ['admin'])];
  const [{ id }, theirs] = [await h.submit({}, { key }), await h.submit({}, { key: calm })];
  const held = hold(h.deps.storeShare, 'looker', 'steps', { reads: full('steps') });
  const stepsOf = async (runId: string, by: string) =>
    (await h.call('GET', `/v1/runs/${runId}/steps`, { key: by })).status;
  const statuses = [await stepsOf(id, key), await stepsOf(theirs.id, calm)];
  held.open();
  await held.done;
  assert.deepEqual([...statuses, await stepsOf(id, key)], [429, 200, 200]);
});

test('changes of one tenant that wait for a lock leave the others their connections', async () => {
  const key = await h.key('reader', ['runs:read']);
  const hasBegun = Promise.withResolvers<void>();
  const letGo = Promise.withResolvers<void>();
  // As long as this is not over, nobody changes a cap.
  const locking = withCapsLocked(h.db, () => {
    hasBegun.resolve();
    return letGo.promise;
  });
  await hasBegun.promise;
  const change = (): Promise<Response> => h.call('PUT', '/v1/caps/tenant', { json: { daily_usd: 5 } });
  const changes = Array.from({ length: 20 }, change);
  const reads = await Promise.all(Array.from({ length: 3 }, () => h.call('GET', '/v1/runs', { key })));
  letGo.resolve();
  await locking;
  assert.deepEqual(
    reads.map(({ status }) => status),
    [200, 200, 200],
  );
  assert.ok((await Promise.all(changes)).every(({ status }) => status === 200));
});
