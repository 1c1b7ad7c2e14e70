/** A run of which Postgres has events behind a gap (gap.ts). */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { AuditRecord } from '@signalbox/contracts';
import { coolDown, storeAll, storeThose } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const answer = async (id: string, path = ''): Promise<[number, unknown]> => {
  const response = await h.call('GET', `/v1/runs/${id}${path}`);
  const { code, status } = (await response.json()) as { code?: string; status: unknown };
  return [response.status, code ?? status];
};

const isOf =
  (id: string, type: string) =>
  ({ runId, entries }: AuditRecord): boolean =>
    runId === id && entries.some((entry) => entry.includes(`"type":"${type}"`));

/** An ended run that is in Postgres alone, but for its second event, which is still in the stream. */
const runWithGap = async (): Promise<string> => {
  const { id } = await h.submit();
  await finish(h, id);
  const isMissing = isOf(id, 'run.claimed');
  await storeThose(h, (record) => !isMissing(record));
  await coolDown(h, id);
  return id;
};

test('while what is missing is on its way, the client is to try again; then the run is whole', async () => {
  const id = await runWithGap();
  assert.deepEqual(await answer(id), [503, 'audit_behind']);
  assert.deepEqual(await answer(id, '/steps'), [503, 'audit_behind']);
  await storeAll(h);
  assert.deepEqual(await answer(id), [200, 'succeeded']);
});

test('what nothing brings any more is a broken journal', async () => {
  const id = await runWithGap();
  const { partition } = h.deps;
  await partition.redis.del(`${partition.root}:audit`);
  assert.deepEqual(await answer(id), [409, 'journal_broken']);
});

test('so is an event that was there before, whatever is on its way', async () => {
  const id = await runWithGap();
  // As where its row was taken away.
  await h.db.updateTable('runs').set({ last_seq: 1000 }).where('id', '=', id).execute();
  assert.deepEqual(await answer(id), [409, 'journal_broken']);
});
