import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newId, SignalboxError } from '@signalbox/contracts';
import { chainBreak } from '@signalbox/engine';
import { callFailed, journalOf, recordOf, simpleJournal, submitted, TENANT } from '../../test/journal.ts';
import { migratedDatabase } from '../../test/support.ts';
import { type ErasedRun, eraseRunContents, listErased } from './erasure.ts';
import { liftLegalHold, saveLegalHold } from './legal-hold.ts';
import type { Db } from '../db/pool.ts';
import { readRun } from '../runs/read-runs.ts';
import { verifyAudit } from '../audit/verify-audit.ts';
import { writeBatch } from '../write/write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const SEALED = Buffer.from('sealed text of a run').toString('base64');
const said = (ref: string) => ({ wrappedKey: 'k1.wrapped', contents: [[ref, SEALED] as const] });

/** Rows of what was said. */
const left = async (runId: string): Promise<number> => {
  const keys = await db.selectFrom('run_keys').selectAll().where('run_id', '=', runId).execute();
  const contents = await db.selectFrom('contents').selectAll().where('run_id', '=', runId).execute();
  return keys.length + contents.length;
};

test('key and contents go; the journal and the costs stay, and the run says since when', async () => {
  const { runId, entries } = simpleJournal();
  await writeBatch(db, [recordOf(runId, entries, said('sha256:a'))]);
  const costs = () => db.selectFrom('cost_ledger').selectAll().where('run_id', '=', runId).execute();
  const before = await costs();
  const other = simpleJournal();
  await writeBatch(db, [recordOf(other.runId, other.entries, said('sha256:b'))]);

  const [erased] = await eraseRunContents(db, TENANT, [runId]);
  assert.equal(erased?.runId, runId);
  assert.equal(await left(runId), 0);
  assert.equal(await left(other.runId), 2);
  const stored = await readRun(db, TENANT, runId);
  assert.deepEqual(stored?.entries, entries);
  assert.equal(chainBreak(stored.entries), null);
  assert.deepEqual([stored.wrappedKey, stored.contents.size], [null, 0]);
  assert.equal(stored.contentErasedAt, erased.erasedAt.toISOString());
  assert.deepEqual(await costs(), before);
  assert.equal((await readRun(db, TENANT, other.runId))?.contentErasedAt, null);
});

/** In pages of one, so that they end among those of one order. */
const erasedSince = async (since: Date): Promise<ErasedRun[]> => {
  const found: ErasedRun[] = [];
  for await (const page of listErased(db, since, { limit: 1 })) found.push(...page);
  return found;
};

test('of what one order erased no page repeats anything, nor leaves it out', async () => {
  const runIds = Array.from({ length: 5 }, () => simpleJournal().runId).toSorted();
  const erased = await eraseRunContents(db, TENANT, runIds);
  const found = await erasedSince(erased[0]?.erasedAt ?? new Date());
  assert.deepEqual(
    found.map(({ runId }) => runId),
    runIds,
  );
});

test('a repeated erasure answers the same', async () => {
  const { runId, entries } = simpleJournal();
  await writeBatch(db, [recordOf(runId, entries, said('sha256:a'))]);
  const first = await eraseRunContents(db, TENANT, [runId]);
  assert.deepEqual(await eraseRunContents(db, TENANT, [runId]), first);
  assert.deepEqual(await erasedSince(first[0]?.erasedAt ?? new Date()), first);
});

test('what was on its way when the run was erased is stored without key and contents', async () => {
  const { runId, entries } = simpleJournal();
  await eraseRunContents(db, TENANT, [runId]);
  const { inserted } = await writeBatch(db, [recordOf(runId, entries, said('sha256:a'))]);
  assert.equal(inserted, entries.length);
  assert.equal(await left(runId), 0);
});

test('an erasure waits for the batch under way, and finds what it stored', async () => {
  const { runId, entries } = simpleJournal();
  const record = recordOf(runId, entries, said('sha256:a'));
  // Asked for while the batch is judged and stored.
  const writing = writeBatch(db, [record, ...Array.from({ length: 50 }, () => simpleRecord())]);
  await Promise.all([writing, eraseRunContents(db, TENANT, [runId])]);
  assert.equal(await left(runId), 0);
});

const simpleRecord = () => {
  const { runId, entries } = simpleJournal();
  return recordOf(runId, entries, said('sha256:x'));
};

test('a record that lies in quarantine loses key and contents, before and after; its events stay', async () => {
  const poison = (runId: string) => ({
    ...said('sha256:a'),
    contents: [['sha256:a', '%%%'] as const],
    runId,
  });
  const rawOf = async (runId: string): Promise<string> => {
    const rows = await db.selectFrom('audit_quarantine').select('raw').where('run_id', '=', runId).execute();
    return rows.map(({ raw }) => raw.toString('utf8')).join();
  };
  const [early, late] = [simpleJournal(), simpleJournal()];
  await writeBatch(db, [recordOf(early.runId, early.entries, poison(early.runId))]);
  assert.match(await rawOf(early.runId), /k1\.wrapped/);
  await eraseRunContents(db, TENANT, [early.runId, late.runId]);
  await writeBatch(db, [recordOf(late.runId, late.entries, poison(late.runId))]);
  for (const { runId, entries } of [early, late]) {
    assert.doesNotMatch(await rawOf(runId), /k1\.wrapped|%%%/);
    assert.deepEqual((await readRun(db, TENANT, runId))?.entries, entries);
  }
  const { entries } = JSON.parse(await rawOf(early.runId)) as { entries: string[] };
  assert.deepEqual(entries, early.entries);
});

test('what is held is refused, all of it, whoever asks', async () => {
  const [held, free] = [simpleJournal(), simpleJournal()];
  const since = new Date();
  for (const { runId, entries } of [held, free]) {
    await writeBatch(db, [recordOf(runId, entries, said('sha256:a'))]);
  }
  const refused = (error: unknown): boolean => error instanceof SignalboxError && error.code === 'legal_hold';
  const hold = { reason: 'case 7', heldBy: 'key_1' };
  for (const runId of [held.runId, null]) {
    await saveLegalHold(db, { tenantId: TENANT, runId }, hold);
    await assert.rejects(eraseRunContents(db, TENANT, [held.runId, free.runId]), refused);
    assert.deepEqual([await left(held.runId), await left(free.runId)], [2, 2]);
    assert.deepEqual(await erasedSince(since), []);
    await liftLegalHold(db, { tenantId: TENANT, runId });
  }
  await eraseRunContents(db, TENANT, [held.runId, free.runId]);
  assert.deepEqual([await left(held.runId), await left(free.runId)], [0, 0]);
});

for (const [what, text] of [
  ['is no base64', '%%%'],
  ['holds NUL', 'a\u0000\u0000'],
  ['holds half a surrogate pair', '\\\ud800'],
] as const) {
  test(`a content that Postgres refused goes, too: one that ${what}; the events beside it stay as they are`, async () => {
    const runId = newId('run');
    const failed = { ...callFailed({ runId, step: 1 }) };
    Object.assign(failed.data, { message: 'NUL \u0000 and \ud800, and \\u0000' });
    const { entries } = journalOf(runId, [submitted(), failed]);
    const { quarantined } = await writeBatch(db, [
      recordOf(runId, entries, { wrappedKey: 'k1.wrapped', contents: [['sha256:x', text]] }),
    ]);
    assert.deepEqual(
      quarantined.map(({ reason }) => reason),
      ['refused'],
    );
    await eraseRunContents(db, TENANT, [runId]);
    const { raw } = await db
      .selectFrom('audit_quarantine')
      .select('raw')
      .where('run_id', '=', runId)
      .executeTakeFirstOrThrow();
    const { streamId, ...kept } = JSON.parse(raw.toString('utf8')) as Record<string, unknown>;
    assert.equal(typeof streamId, 'string');
    assert.deepEqual(kept, { runId, tenantId: TENANT, entries });
    assert.equal(await left(runId), 0);
    assert.equal((await verifyAudit(db, TENANT, runId))?.first_bad, null);
  });
}

describe('the steps of an erasure', () => {
  const stored = async (): Promise<string> => {
    const { runId, entries } = simpleJournal();
    await writeBatch(db, [recordOf(runId, entries, said('sha256:a'))]);
    return runId;
  };

  test('those that are erased only now are noted before, those that were are not', async () => {
    const [first, second] = [await stored(), await stored()];
    const noted: (readonly string[])[] = [];
    const note = async (fresh: readonly string[]): Promise<void> => {
      assert.equal(await left(fresh[0] ?? ''), 2, 'nothing is erased yet');
      noted.push(fresh);
    };
    await eraseRunContents(db, TENANT, [first], { note });
    await eraseRunContents(db, TENANT, [first, second], { note });
    await eraseRunContents(db, TENANT, [first, second], { note });
    assert.deepEqual(noted, [[first], [second]]);
  });

  test('what is held is not even noted, and erased nowhere', async () => {
    const runId = await stored();
    await saveLegalHold(db, { tenantId: TENANT, runId }, { reason: null, heldBy: 'key_1' });
    const never = () => Promise.reject(new Error('was called'));
    await assert.rejects(
      eraseRunContents(db, TENANT, [runId], { note: never, elsewhere: never }),
      (error) => error instanceof SignalboxError && error.code === 'legal_hold',
    );
  });

  test('what cannot be noted, or not be erased elsewhere, is left whole and can be erased again', async () => {
    const runId = await stored();
    const away = () => Promise.reject(new Error('Redis is away'));
    for (const steps of [{ note: away }, { elsewhere: away }]) {
      await assert.rejects(eraseRunContents(db, TENANT, [runId], steps), /Redis is away/);
      assert.equal(await left(runId), 2);
    }
    let calls = 0;
    const elsewhere = async (erased: readonly { runId: string }[]): Promise<void> => {
      assert.deepEqual(
        erased.map((each) => each.runId),
        [runId],
      );
      calls += 1;
    };
    await eraseRunContents(db, TENANT, [runId], { elsewhere });
    assert.deepEqual([calls, await left(runId)], [2, 0]);
  });
});
