/** The export of a tenant whose administration chain is long. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { adminChainOf } from '@signalbox/contracts';
import { sql } from 'kysely';
import { pagesByStatement, settle } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { exportAuditEvents } from './export-audit.ts';
import type { AuditFilter } from './read-audit.ts';

const tenantId = 'busy';
const CHAIN = adminChainOf(tenantId);
const EVENTS = 20_000;
const timeOf = (seq: number): string => new Date(Date.UTC(2026, 0, 1) + seq * 60_000).toISOString();

let db: Db;
before(async () => {
  db = await migratedDatabase();
  await sql`
    insert into audit_events (run_id, seq, event_id, tenant_id, type, category, ts, hash, body)
    select ${CHAIN}, n, 'evt_' || n, ${tenantId}, 'content.read', 'admin',
      ${timeOf(0)}::timestamptz + n * interval '1 minute', '', ''
    from generate_series(1, ${EVENTS}::int) n`.execute(db);
  await settle(db, 'audit_events');
});

test('a page of a long chain reads no more than one at its beginning', async () => {
  const seqs: number[] = [];
  const read = async (counted: Db): Promise<void> => {
    for await (const page of exportAuditEvents(counted, { tenantId }))
      seqs.push(...page.map(({ seq }) => seq));
  };
  const pages = await pagesByStatement(db, read);
  assert.deepEqual(
    seqs,
    Array.from({ length: EVENTS }, (_, n) => n + 1),
  );
  const [first = 0] = pages;
  assert.ok(Math.max(...pages) < 2 * first, `${Math.max(...pages)} pages, and ${first} at first`);
});

type Period = Pick<AuditFilter, 'from' | 'to' | 'runId'>;

const exported = async (period: Period, mostLookedAt?: number): Promise<number[]> => {
  const seqs: number[] = [];
  const options = mostLookedAt === undefined ? {} : { mostLookedAt };
  for await (const page of exportAuditEvents(db, { tenantId, ...period }, options))
    seqs.push(...page.map(({ seq }) => seq));
  return seqs;
};

const span = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

test('a period is exported whole and in order, in looks of any length', async () => {
  for (const mostLookedAt of [undefined, 777, EVENTS, EVENTS + 1]) {
    assert.deepEqual(await exported({}, mostLookedAt), span(1, EVENTS + 1));
    for (const runId of [undefined, CHAIN]) {
      const period = { runId, from: timeOf(1500), to: timeOf(3200) };
      assert.deepEqual(await exported(period, mostLookedAt), span(1500, 3200));
    }
    assert.deepEqual(await exported({ from: timeOf(EVENTS) }, mostLookedAt), [EVENTS]);
    assert.deepEqual(await exported({ to: timeOf(2) }, mostLookedAt), [1]);
    assert.deepEqual(await exported({ from: timeOf(EVENTS + 1) }, mostLookedAt), []);
  }
});

test('one statement looks at so many events, not at all there are before the period', async () => {
  const half = { tenantId, from: timeOf(EVENTS / 2) };
  const dearest = async (mostLookedAt: number): Promise<number> => {
    const read = async (counted: Db): Promise<void> => {
      for await (const _ of exportAuditEvents(counted, half, { mostLookedAt }));
    };
    return Math.max(...(await pagesByStatement(db, read)));
  };
  const [short, long] = [await dearest(100), await dearest(EVENTS)];
  assert.ok(short * 5 < long, `${short} of ${long} pages`);
});
