import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { recordOf, simpleJournal, TENANT } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { eraseRunContents } from '../retention/erasure.ts';
import { readRun, readRuns, readRunsWithin } from './read-runs.ts';
import { readEntries } from './read-entries.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const b64 = (text: string): string => Buffer.from(text).toString('base64');

describe('readRuns', () => {
  test('keeps the asked order, leaves out what is missing or foreign', async () => {
    const [a, b, foreign] = [simpleJournal(), simpleJournal(), simpleJournal()];
    await writeBatch(
      db,
      [a, b].map(({ runId, entries }) => recordOf(runId, entries)),
    );
    await writeBatch(db, [recordOf(foreign.runId, foreign.entries, { tenantId: 'other' })]);
    const runs = await readRuns(db, TENANT, [b.runId, newId('run'), foreign.runId, a.runId, 'no\u0000id']);
    assert.deepEqual(
      runs.map((run) => run.runId),
      [b.runId, a.runId],
    );
    assert.deepEqual(runs[0]?.entries, b.entries);
    assert.equal(await readRun(db, TENANT, foreign.runId), null);
    assert.deepEqual(await readRuns(db, TENANT, []), []);
  });

  test('contents: those the events name, or those that are chosen', async () => {
    const { runId, entries } = simpleJournal();
    const contents = [
      ['sha256:submission', b64('submission')],
      ['sha256:output-1', b64('output')],
      ['sha256:nobody', b64('named by no event')],
    ] as const;
    await writeBatch(db, [recordOf(runId, entries, { contents })]);
    assert.deepEqual(new Map((await readRun(db, TENANT, runId))?.contents), new Map(contents.slice(0, 2)));
    const [chosen] = await readRuns(db, TENANT, [runId], () => ['sha256:output-1']);
    assert.deepEqual([...(chosen?.contents ?? [])], [['sha256:output-1', b64('output')]]);
  });
});

test('a run that is erased while it is read is read as erased', async () => {
  const { runId, entries } = simpleJournal();
  const contents = ['sha256:submission', 'sha256:spec', 'sha256:output-1'].map(
    (ref) => [ref, b64(ref)] as const,
  );
  await writeBatch(db, [recordOf(runId, entries, { wrappedKey: 'k1.key', contents })]);
  let asked = 0;
  const slow = db.withPlugin({
    transformQuery: ({ node }) => node,
    transformResult: async ({ result }) => {
      // Behind its row and its journal come its contents.
      if ((asked += 1) === 2) await eraseRunContents(db, TENANT, [runId]);
      return result;
    },
  });
  const found = await readRun(slow, TENANT, runId);
  assert.equal(found?.wrappedKey, null);
  assert.notEqual(found?.contentErasedAt, null);
});

describe('readRunsWithin', () => {
  const ref = 'sha256:output-1';
  const choose = (): string[] => [ref];
  const runIds: string[] = [];

  before(async () => {
    for (const bytes of [100, 50, 50, 1]) {
      const { runId, entries } = simpleJournal();
      const contents = [
        [ref, Buffer.alloc(bytes).toString('base64')],
        ['sha256:submission', Buffer.alloc(1000).toString('base64')],
      ] as const;
      await writeBatch(db, [recordOf(runId, entries, { contents })]);
      runIds.push(runId);
    }
  });

  const within = async (maxBytes: number): Promise<[number, number[]]> => {
    const { runs, looked } = await readRunsWithin(db, { tenantId: TENANT, runIds, choose, maxBytes });
    assert.deepEqual(
      runs.map((run) => run.runId),
      runIds.slice(0, looked),
    );
    return [looked, runs.map(({ contents }) => Buffer.from(contents.get(ref) ?? '', 'base64').length)];
  };

  test('ends before the run whose chosen contents are too much', async () => {
    assert.deepEqual(await within(199), [2, [100, 50]]);
    assert.deepEqual(await within(200), [3, [100, 50, 50]]);
    assert.deepEqual(await within(201), [4, [100, 50, 50, 1]]);
  });

  test('reads one run at least, however large', async () => {
    assert.deepEqual(await within(1), [1, [100]]);
  });

  test('what is missing or foreign counts as looked for', async () => {
    const asked = { tenantId: TENANT, runIds: [newId('run'), ...runIds], choose, maxBytes: 120 };
    const { runs, looked } = await readRunsWithin(db, asked);
    assert.deepEqual([looked, runs.map((run) => run.runId)], [2, runIds.slice(0, 1)]);
    assert.deepEqual(await readRunsWithin(db, { ...asked, tenantId: 'nobody' }), { runs: [], looked: 5 });
  });
});

describe('readEntries', () => {
  test('a page of the journal; none behind its end; null for what is missing or foreign', async () => {
    const { runId, entries } = simpleJournal();
    await writeBatch(db, [recordOf(runId, entries)]);
    const page = (after: number, limit: number, tenantId = TENANT): Promise<string[] | null> =>
      readEntries(db, tenantId, { runId, after, limit });
    assert.ok(entries.length > 3);
    assert.deepEqual(await page(0, 1000), entries);
    assert.deepEqual(await page(1, 2), entries.slice(1, 3));
    assert.deepEqual(await page(entries.length, 10), []);
    assert.equal(await page(0, 10, 'other'), null);
    for (const missing of [newId('run'), 'no\u0000id'])
      assert.equal(await readEntries(db, TENANT, { runId: missing, after: 0, limit: 10 }), null);
  });
});
