import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { chainBreak } from '@signalbox/engine';
import { type Clock, systemClock } from '@signalbox/runtime';
import { keyOf } from '../src/keys/api-keys.ts';
import { createApp } from '../src/http/app.ts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';
import { all, exported, page } from './audit-pages.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

test('an export has every chain whole, exactly as it was hashed, and is written down itself', async () => {
  const key = await h.key('exported', ['admin']);
  const runs = [];
  for (let n = 0; n < 3; n += 1) runs.push(await h.submit({}, { key }));
  for (const { id } of runs) await finish(h, id);
  await storeAll(h);
  const { lines, end } = await exported(h, '', key);
  assert.deepEqual(end, { end: true, lines: lines.length, checkpoint: 0 });
  const chains = Map.groupBy(lines, ({ run_id }) => run_id);
  assert.deepEqual([...chains.keys()], ['admin_exported', ...runs.map(({ id }) => id).toSorted()]);
  for (const [id, chain] of chains) {
    assert.equal(chainBreak(chain.map(({ hash, body }) => hash + body)), null, id);
    for (const { hash, body, chain: kind } of chain) {
      assert.equal(createHash('sha256').update(body).digest('hex'), hash);
      assert.equal(kind, id.startsWith('admin_') ? 'admin' : 'run');
    }
  }
  await storeAll(h);
  const [event] = await all(h, '&type=audit.exported', key);
  assert.deepEqual(event?.data, { run_id: null, from: null, to: null });
  const one = await exported(h, `?run_id=${runs[1]?.id}`, key);
  assert.deepEqual(new Set(one.lines.map(({ run_id }) => run_id)), new Set([runs[1]?.id]));
});

test('a client that leaves an export stops its reading', async () => {
  const key = await h.key('left', ['admin']);
  for (let n = 0; n < 4; n += 1) await h.submit({}, { key });
  await storeAll(h);
  // More runs than one page names.
  await h.db
    .insertInto('runs')
    .values(
      Array.from({ length: 2000 }, (_, i) => {
        const id = `run_${String(i).padStart(32, '0')}`;
        return { id, tenant_id: 'left', root_run_id: id, created_at: new Date() };
      }),
    )
    .execute();
  let reads = 0;
  const db = h.db.withPlugin({
    transformQuery: ({ node }) => {
      reads += 1;
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  });
  const app = createApp({ ...h.deps, db });
  const ask = async (): Promise<Response> =>
    app.fetch(new Request('http://api/v1/audit/export', { headers: { authorization: `Bearer ${key}` } }));
  await (await ask()).text();
  const whole = reads;
  assert.ok(whole > 20, String(whole));
  reads = 0;
  const reader = (await ask()).body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  assert.ok(value !== undefined);
  await reader?.cancel();
  // Time enough for a reading that goes on.
  for (let n = 0; n < 20; n += 1) await page(h, '', key);
  assert.ok(reads < whole / 2, `${reads} of ${whole} reads`);
});

test('an export is cut off once its key is revoked, and looks at a key no longer than it goes on', async () => {
  const looking: AbortSignal[] = [];
  // Its looks come a hundred times as often.
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => {
      if (signal !== undefined) looking.push(signal);
      return systemClock.sleep(ms / 100, signal);
    },
  };
  const fast = await openHarness({ clock });
  const begin = async (key: string): Promise<ReadableStreamDefaultReader<Uint8Array>> => {
    const { body } = await fast.call('GET', '/v1/audit/export', { key });
    return body?.getReader() ?? assert.fail('no body');
  };
  try {
    const [leaver, stayer] = [await fast.key('cut', ['audit:read']), await fast.key('cut', ['admin'])];
    await fast.submit({}, { key: stayer });
    await storeAll(fast);
    const reader = await begin(leaver);
    assert.equal((await reader.read()).done, false);
    const [look] = looking;
    assert.ok(look !== undefined);
    const gone = once(look, 'abort');
    const { id } = keyOf(leaver);
    assert.equal((await fast.call('DELETE', `/v1/keys/${id}`, { key: stayer })).status, 200);
    await gone;
    await assert.rejects(reader.read());

    const whole = await begin(stayer);
    while (!(await whole.read()).done);
    assert.ok(looking.length > 1 && looking.every(({ aborted }) => aborted));
  } finally {
    await fast.close();
  }
});
