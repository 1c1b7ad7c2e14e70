/** Events of 200 KB: what reads whole chains takes few of them at once. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { type EventDraft, newId } from '@signalbox/contracts';
import {
  claimed,
  completed,
  journalOf,
  recordOf,
  requested,
  submitted,
  succeeded,
  TENANT,
} from '../../test/journal.ts';
import { largestAnswer } from '../../test/pages-read.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from '../write/write-batch.ts';
import { exportAuditEvents } from './export-audit.ts';
import { verifyAudit } from './verify-audit.ts';

const STEPS = 30;
const CALLS = 2000;

const manyCalls = (draft: EventDraft): EventDraft => {
  if (draft.type !== 'llm.completed') return draft;
  const tool_calls = Array.from({ length: CALLS }, (_, n) => ({
    call_id: `call-${n}`,
    name: 'calculator',
    args_digest: 'digest'.repeat(10),
  }));
  return { ...draft, data: { ...draft.data, tool_calls } };
};

let db: Db;
const runIds = [newId('run'), newId('run')];
let events = 0;
before(async () => {
  db = await migratedDatabase();
  for (const runId of runIds) {
    const steps = Array.from({ length: STEPS }, (_, n) => ({ runId, step: n + 1 }));
    const calls = steps.flatMap((step) => [requested(step), manyCalls(completed(step))]);
    const { entries } = journalOf(runId, [submitted(), claimed(), ...calls, succeeded(STEPS)]);
    events += entries.length;
    for (let at = 0; at < entries.length; at += 10)
      await writeBatch(db, [recordOf(runId, entries.slice(at, at + 10))]);
  }
});

/** Of 12 MB. An event comes as its text and in columns beside it. */
const MOST = 5_000_000;

test('an export gives them page by page, all of them', async () => {
  const seqs: string[] = [];
  const largest = await largestAnswer(db, async (counted) => {
    for await (const page of exportAuditEvents(counted, { tenantId: TENANT }))
      seqs.push(...page.map(({ run_id, seq }) => `${run_id} ${seq}`));
  });
  const all = runIds.flatMap((id) => Array.from({ length: events / 2 }, (_, n) => `${id} ${n + 1}`));
  assert.deepEqual(seqs, all);
  assert.ok(largest < MOST, `${largest} characters at once`);
});

test('a verification goes through all of them', async () => {
  const largest = await largestAnswer(db, async (counted) => {
    const verdict = await verifyAudit(counted, TENANT, null);
    assert.deepEqual([verdict?.first_bad, verdict?.checked], [null, events]);
  });
  assert.ok(largest < MOST, `${largest} characters at once`);
});
