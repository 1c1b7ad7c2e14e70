import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import {
  callFailed,
  claimed,
  completed,
  expired,
  holdId,
  journalOf,
  MODEL,
  recordsOf,
  requested,
  submitted,
  succeeded,
  TENANT,
} from '../../test/journal.ts';
import { runRowIn } from '../../test/run-row.ts';
import { migratedDatabase } from '../../test/support.ts';
import type { Db } from '../db/pool.ts';
import { writeBatch } from './write-batch.ts';

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const runRow = runRowIn(() => db);
const ledgerRow = (id: string) =>
  db.selectFrom('cost_ledger').selectAll().where('hold_id', '=', id).executeTakeFirstOrThrow();
const dayOf = async (day: string) =>
  (await db.selectFrom('daily_costs').selectAll().where('day', '=', day).execute()).map((row) => ({
    ...row,
  }));

describe('cost', () => {
  test('a settlement before its hold counts once, on the day of the hold', async () => {
    const runId = newId('run');
    const day = '2031-01-01';
    const call = { runId, step: 1, day };
    const records = recordsOf(
      journalOf(runId, [submitted(), claimed(), requested(call), completed(call), succeeded(1)]),
    );
    await writeBatch(db, records.slice(3));
    assert.deepEqual(await dayOf(day), []);
    assert.equal((await runRow(runId)).cost_observed_nano, 2_100_000);
    const half = await ledgerRow(holdId(runId, 1));
    assert.deepEqual([half.state, half.day, half.held_nano], ['settled', null, null]);

    await writeBatch(db, records.slice(0, 3));
    const { held_nano, observed_nano, state, provider, model, price_version } = await ledgerRow(
      holdId(runId, 1),
    );
    assert.deepEqual(
      { held_nano, observed_nano, state, provider, model, price_version },
      {
        held_nano: 5_000_000,
        observed_nano: 2_100_000,
        state: 'settled',
        provider: 'openai',
        model: MODEL,
        price_version: 'prices-1',
      },
    );
    const expected = {
      tenant_id: TENANT,
      day,
      user_id: 'u1',
      agent: 'support',
      model: MODEL,
      observed_nano: 2_100_000,
      calls: 1,
    };
    assert.deepEqual(await dayOf(day), [expected]);
  });

  test('holds, failures and expiries', async () => {
    const runId = newId('run');
    const day = '2031-01-02';
    const at = (attempt: number, nano?: number) => ({
      runId,
      step: 1,
      attempt,
      day,
      ...(nano === undefined ? {} : { nano }),
    });
    const drafts = [
      submitted({ user_id: null }),
      claimed(),
      requested(at(1)),
      callFailed(at(1, 7)),
      requested(at(2)),
      expired(at(2, 5_000_000)),
      requested(at(3)),
    ];
    const records = recordsOf(journalOf(runId, drafts)).map((record) => ({ ...record, userId: null }));
    await writeBatch(db, records);
    const states = await Promise.all(
      [1, 2, 3].map(async (n) => (await ledgerRow(holdId(runId, 1, n))).state),
    );
    assert.deepEqual(states, ['settled', 'expired', 'held']);
    const [row] = await dayOf(day);
    assert.deepEqual([row?.user_id, row?.observed_nano, row?.calls], ['', 5_000_007, 0]);
    const run = await runRow(runId);
    assert.deepEqual([run.cost_observed_nano, run.estimated, run.status], [5_000_007, true, 'running']);
  });
});
