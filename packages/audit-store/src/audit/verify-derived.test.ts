/** What reports are made of, changed beside the log it was derived from. */
import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { type RawBuilder, sql } from 'kysely';
import { asPool, type InWorld, openWorlds } from '../../test/signed-world.ts';
import { recordOf, simpleJournal, TENANT } from '../../test/journal.ts';
import { verifyAudit } from './verify-audit.ts';
import { writeBatch } from '../write/write-batch.ts';

let inWorld: InWorld;
before(async () => {
  inWorld = await openWorlds();
});

const RUN_COLUMNS: Readonly<Record<string, string>> = {
  status: `'failed'`,
  waiting_for: `'timer'`,
  error_code: `'timeout'`,
  agent: `'other'`,
  agent_version: '9',
  user_id: `'u2'`,
  session_id: 'null',
  parent_run_id: `'run_x'`,
  root_run_id: `'run_x'`,
  forked_from: `'run_x'`,
  model: `'openai/gpt-4o'`,
  priority: `'high'`,
  cap_nano: '1',
  cost_observed_nano: '0',
  estimated: 'not estimated',
  input_tokens: '0',
  output_tokens: '0',
  cache_read_tokens: '0',
  cache_write_tokens: '7',
  steps: '0',
  epoch: '7',
  created_at: `created_at - interval '1 day'`,
  started_at: 'null',
  finished_at: `finished_at + interval '1 ms'`,
};

const CALL_COLUMNS: Readonly<Record<string, string>> = {
  tenant_id: `'other'`,
  user_id: `'u2'`,
  agent: `'other'`,
  run_id: `'run_other'`,
  root_run_id: `'run_other'`,
  step: '9',
  attempt: '9',
  provider: `'anthropic'`,
  model: `'openai/gpt-4o'`,
  price_version: 'null',
  day: `'2026-11-20'`,
  held_nano: '0',
  observed_nano: '0',
  state: `'expired'`,
  estimated: 'true',
  completed: 'false',
  settled_seq: '1',
};

interface Case {
  readonly what: string;
  readonly change: (runId: string) => RawBuilder<unknown>;
  readonly why: RegExp;
}

const set =
  (table: 'runs' | 'cost_ledger', id: string, column: string, value: string): Case['change'] =>
  (runId) =>
    sql`update ${sql.table(table)} set ${sql.ref(column)} = ${sql.raw(value)} where ${sql.ref(id)} = ${runId}`;

const CASES: readonly Case[] = [
  ...Object.entries(RUN_COLUMNS).map(([column, value]) => ({
    what: `runs.${column}`,
    change: set('runs', 'id', column, value),
    why: new RegExp(`the row of the run says another ${column} `),
  })),
  ...Object.entries(CALL_COLUMNS).map(([column, value]) => ({
    what: `cost_ledger.${column}`,
    change: set('cost_ledger', 'run_id', column, value),
    why:
      column === 'run_id'
        ? /call run_\w+:1:1 is not in the ledger/
        : new RegExp(`the ledger says another ${column} of call run_`),
  })),
  {
    what: 'a call taken out of the ledger',
    change: (runId) => sql`delete from cost_ledger where run_id = ${runId}`,
    why: /is not in the ledger/,
  },
  {
    what: 'a call put into the ledger',
    change: (runId) => sql`
      insert into cost_ledger (hold_id, tenant_id, run_id, root_run_id, step, attempt, provider, model, state)
      values ('forged', ${TENANT}, ${runId}, ${runId}, 7, 1, 'openai', 'openai/gpt-4o', 'held')`,
    why: /the ledger has call forged/,
  },
];

describe('of a run that has ended, with the run it is of:', () => {
  for (const { what, change, why } of CASES) {
    test(what, async () => {
      await inWorld(async ({ tx, runs: [, runId] }) => {
        assert.equal((await verifyAudit(tx, TENANT, null))?.first_bad, null);
        await change(runId).execute(tx);
        for (const asked of [null, runId]) {
          const found = await verifyAudit(tx, TENANT, asked);
          assert.equal(found?.first_bad?.run_id, runId);
          assert.match(found.first_bad.why, why);
        }
      });
    });
  }
});

const DAYS: readonly (readonly [string, RawBuilder<unknown>, RegExp])[] = [
  ['a sum', sql`update daily_costs set observed_nano = 1`, /^2026-11-21: what it cost is not the sum/],
  ['a count', sql`update daily_costs set calls = calls + 1`, /^2026-11-21: what it cost/],
  ['another user', sql`update daily_costs set user_id = 'u2'`, /^2026-11-21: what it cost/],
  ['a day taken away', sql`delete from daily_costs`, /^2026-11-21: what it cost/],
  [
    'a day put there',
    sql`insert into daily_costs values (${TENANT}, '2026-11-20', 'u1', 'support', 'openai/gpt-4o', 5, 1)`,
    /^2026-11-20: what it cost/,
  ],
  [
    'a call of a run that is not there, summed up',
    sql`
      with call as (
        insert into cost_ledger (hold_id, tenant_id, run_id, root_run_id, step, attempt, provider, model, day,
          observed_nano, state, completed)
        values ('forged', ${TENANT}, 'run_x', 'run_x', 1, 1, 'openai', 'openai/gpt-4o', '2026-11-22', 5, 'settled', true))
      insert into daily_costs values (${TENANT}, '2026-11-22', '', '', 'openai/gpt-4o', 5, 1)`,
    /^2026-11-22: the ledger has a call of a run that is not there/,
  ],
];

describe('the costs of a day, with the day:', () => {
  for (const [what, change, why] of DAYS) {
    test(what, async () => {
      await inWorld(async ({ tx }) => {
        await change.execute(tx);
        const found = await verifyAudit(tx, TENANT, null);
        assert.deepEqual([found?.first_bad?.run_id, found?.first_bad?.seq], ['daily_costs', 0]);
        assert.match(found?.first_bad?.why ?? '', why);
      });
    });
  }
});

test('what is derived only by and by is not taken for changed: a run that goes on, one with an event in quarantine', async () => {
  await inWorld(async ({ tx }) => {
    const [open, damaged] = [simpleJournal(), simpleJournal()];
    await writeBatch(asPool(tx), [
      recordOf(open.runId, open.entries.slice(0, 3)),
      recordOf(
        damaged.runId,
        damaged.entries.map((entry, i) => (i === 2 ? entry.replace('"epoch":2', '"epoch":3') : entry)),
      ),
    ]);
    assert.equal((await verifyAudit(tx, TENANT, null))?.first_bad, null);
  });
});
