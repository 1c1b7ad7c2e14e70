import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { adminChainOf, type AdminEventDraft, type AdminFact, type AuditRecord } from '@signalbox/contracts';
import {
  claimed,
  journalOf,
  recordOf,
  recordsOf,
  runIdAt,
  submitted,
  succeeded,
  TENANT,
} from '../../test/journal.ts';
import { pagesRead, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { type AuditCursor, type AuditFilter, type AuditRow, listAuditEvents } from './read-audit.ts';
import { writeBatch } from '../write/write-batch.ts';

const RUNS = 1000;
const READS = 3000;
const CHAIN = adminChainOf(TENANT);

/** A key, and who read what was said ever since. */
const administration = (startMs: number): AuditRecord[] =>
  Array.from({ length: READS }, (_, n) => {
    const fact: AdminFact =
      n === 0
        ? { type: 'key.revoked', data: { key_id: 'key_2', name: 'k' } }
        : { type: 'content.read', data: { run_id: 'run_1', by: 'steps' } };
    const draft: AdminEventDraft = {
      event_id: `evt_${String(n).padStart(32, '0')}`,
      tenant_id: TENANT,
      ts: new Date(startMs + n * 60_000).toISOString(),
      actor: { type: 'operator', id: n === 0 ? 'founder' : 'reader' },
      ...fact,
    };
    return recordOf(CHAIN, [], { userId: null, agent: null, adminDraft: JSON.stringify(draft) });
  });

let db: Db;
before(async () => {
  db = await migratedDatabase();
  const startMs = Date.parse('2026-01-01T00:00:00Z');
  const journals = Array.from({ length: RUNS }, (_, n) => {
    const ms = startMs + n * 60_000;
    return journalOf(runIdAt(ms), [submitted(), claimed(), succeeded(0)], ms);
  });
  await writeBatch(db, journals.flatMap(recordsOf));
  await writeBatch(db, administration(startMs));
  await settle(db, 'audit_events');
});

/** All pages of a search, and how many there were. */
const search = async (
  filter: Omit<AuditFilter, 'tenantId'>,
  { limit, mostLookedAt }: { limit: number; mostLookedAt: number },
): Promise<{ rows: AuditRow[]; pages: number }> => {
  const rows: AuditRow[] = [];
  let after: AuditCursor | undefined;
  for (let pages = 1; ; pages += 1) {
    const query = { tenantId: TENANT, ...filter, limit, after };
    const page = await listAuditEvents(db, query, { mostLookedAt });
    rows.push(...page.rows);
    if (page.next === null) return { rows, pages };
    after = page.next;
  }
};

test('a search in short looks finds what one long look finds, in its order', async () => {
  const whole = await search({ type: 'run.succeeded' }, { limit: RUNS + 1, mostLookedAt: 1_000_000 });
  assert.deepEqual([whole.rows.length, whole.pages], [RUNS, 1]);
  for (const bounds of [
    { limit: 7, mostLookedAt: 50 },
    { limit: 50, mostLookedAt: 7 },
    { limit: 10, mostLookedAt: 10 },
  ]) {
    const { rows, pages } = await search({ type: 'run.succeeded' }, bounds);
    assert.deepEqual(
      rows.map(({ event_id }) => event_id),
      whole.rows.map(({ event_id }) => event_id),
    );
    assert.ok(pages > 10);
  }
});

test('nothing is found in as many looks as there are', async () => {
  const events = RUNS * 3 + READS;
  const { rows, pages } = await search({ actor: 'nobody' }, { limit: 10, mostLookedAt: 100 });
  assert.deepEqual([rows.length, pages], [0, Math.floor(events / 100) + 1]);
});

test('a page of the whole log reads that page, not all there is', async () => {
  const pages = await pagesRead(db, (read) => listAuditEvents(read, { tenantId: TENANT, limit: 10 }));
  assert.ok(pages < 40, `${pages} pages`);
});

test('one look reads what it looks at, not all there is', async () => {
  const query = { tenantId: TENANT, actor: 'nobody', limit: 10 };
  const long = await pagesRead(db, (read) => listAuditEvents(read, query));
  const short = await pagesRead(db, (read) => listAuditEvents(read, query, { mostLookedAt: 50 }));
  assert.ok(short * 5 < long, `${short} of ${long} pages`);
});

const SEARCHES: readonly Omit<AuditFilter, 'tenantId'>[] = [
  { category: 'admin', actor: 'founder' },
  { category: 'admin', type: 'key.revoked' },
  { runId: CHAIN, actor: 'founder' },
  { runId: CHAIN, type: 'key.revoked' },
  { runId: CHAIN, to: '2026-01-01T00:00:30Z' },
];

test('a search of the administration goes through so many events at a look too, however long that chain is', async () => {
  for (const filter of SEARCHES) {
    const whole = await search(filter, { limit: 10, mostLookedAt: 1_000_000 });
    const { rows, pages } = await search(filter, { limit: 10, mostLookedAt: 100 });
    assert.deepEqual([whole.rows.length, rows], [1, whole.rows], JSON.stringify(filter));
    assert.equal(pages, READS / 100 + 1);
    // A period may be found by an index of its own, which is as well.
    if ('to' in filter) continue;
    const query = { tenantId: TENANT, ...filter, limit: 10 };
    const long = await pagesRead(db, (read) => listAuditEvents(read, query));
    const short = await pagesRead(db, (read) => listAuditEvents(read, query, { mostLookedAt: 50 }));
    assert.ok(short * 5 < long, `${JSON.stringify(filter)}: ${short} of ${long} pages`);
  }
});

test('a page of large events ends early, and the next ones have the rest, in any order', async () => {
  const message = 'x'.repeat(500_000);
  const startMs = Date.parse('2026-02-01T00:00:00Z');
  const large = Array.from({ length: 12 }, (_, n) => {
    const ms = startMs + n * 60_000;
    return journalOf(
      runIdAt(ms),
      [submitted(), { type: 'run.failed', data: { code: 'timeout', message } }],
      ms,
    );
  });
  await writeBatch(db, large.flatMap(recordsOf));
  const bounds = { limit: 100, mostLookedAt: 1_000_000 };
  for (const filter of [{ type: 'run.failed' }, { from: new Date(startMs).toISOString() }]) {
    const { rows, pages } = await search(filter, bounds);
    assert.ok(pages > 2, `${pages} pages`);
    const ends = rows.filter(({ type }) => type === 'run.failed');
    assert.deepEqual(
      ends.map(({ run_id }) => run_id),
      large.map(({ runId }) => runId).toReversed(),
    );
  }
});
