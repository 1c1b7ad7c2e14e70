import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import {
  claimed,
  journalOf,
  recordOf,
  runIdAt,
  simpleJournal,
  submitted,
  succeeded,
  TENANT,
} from '../test/journal.ts';
import { migratedDatabase } from '../test/support.ts';
import type { Db } from './pool.ts';
import { listRunIds, readRun, readRuns } from './read.ts';
import { readEntries } from './read-entries.ts';
import { writeBatch } from './write.ts';

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

describe('listRunIds', () => {
  const tenantId = 'lister';
  const ids: string[] = [];

  before(async () => {
    for (const n of [0, 1, 2, 3, 4, 5]) {
      const createdMs = Date.UTC(2030, 0, 1 + n);
      const runId = runIdAt(createdMs);
      ids.push(runId);
      const drafts = [
        submitted({
          tenant_id: tenantId,
          user_id: n % 2 === 0 ? 'even' : 'odd',
          session_id: n < 3 ? 'early' : null,
          agent: n === 5 ? { name: null, version: null } : { name: 'support', version: 1 },
        }),
        claimed(),
      ];
      const { entries } = journalOf(runId, n < 2 ? [...drafts, succeeded(0)] : drafts, createdMs);
      await writeBatch(db, [recordOf(runId, entries, { tenantId })]);
    }
  });

  const at = (...wanted: number[]) => wanted.map((n) => ids[n]);
  const list = (query: Partial<Parameters<typeof listRunIds>[1]>) =>
    listRunIds(db, { tenantId, limit: 100, ...query });

  test('newest first, page by page', async () => {
    assert.deepEqual(await list({}), at(5, 4, 3, 2, 1, 0));
    assert.deepEqual(await list({ limit: 2 }), at(5, 4));
    assert.deepEqual(await list({ limit: 2, before: ids[4] }), at(3, 2));
    assert.deepEqual(await list({ before: ids[0] }), []);
  });

  test('each filter, and all of them', async () => {
    assert.deepEqual(await list({ status: 'succeeded' }), at(1, 0));
    assert.deepEqual(await list({ status: 'running' }), at(5, 4, 3, 2));
    assert.deepEqual(await list({ agent: 'support' }), at(4, 3, 2, 1, 0));
    assert.deepEqual(await list({ userId: 'odd' }), at(5, 3, 1));
    assert.deepEqual(await list({ sessionId: 'early' }), at(2, 1, 0));
    assert.deepEqual(await list({ createdAfter: '2030-01-03T00:00:00Z' }), at(5, 4, 3, 2));
    assert.deepEqual(await list({ createdBefore: '2030-01-03T00:00:00Z' }), at(1, 0));
    const all = { status: 'running', agent: 'support', userId: 'even', sessionId: 'early' } as const;
    assert.deepEqual(await list(all), at(2));
    assert.deepEqual(await list({ userId: 'nobody\u0000' }), []);
  });
});
