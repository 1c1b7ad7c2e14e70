import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
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

const READS: readonly (readonly [method: string, path: string, use: StoreUse])[] = [
  ['GET', '/v1/runs', 'list'],
  ['GET', '/v1/audit?actor=x', 'list'],
  ['GET', '/v1/costs', 'list'],
  ['GET', '/v1/agents', 'list'],
  ['GET', '/v1/keys', 'list'],
  ['POST', '/v1/audit/verify', 'verify'],
  ['GET', '/v1/audit/export', 'export'],
];

for (const [method, path, use] of READS) {
  test(`${method} ${path} has its turn in the share of its tenant`, async () => {
    const [eager, calm] = [await h.key('eager', ['admin']), await h.key('calm', ['admin'])];
    const held = hold(h.deps.storeShare, 'eager', use, { reads: full(use) });
    const refused = await h.call(method, path, { key: eager });
    const others = await h.call(method, path, { key: calm });
    await others.text();
    held.open();
    await held.done;
    const { code } = (await refused.json()) as { code: string };
    assert.deepEqual([refused.status, code], [429, 'rate_limited']);
    assert.ok(Number(refused.headers.get('retry-after')) >= 1);
    assert.equal(others.status, 200);
    const again = await h.call(method, path, { key: eager });
    await again.text();
    assert.equal(again.status, 200, 'and goes on when there is room');
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
