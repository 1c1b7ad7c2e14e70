import { sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { costChanges, type DailyChange, holdIdsOf, type LedgerRow } from './cost-changes.ts';
import type { GoodEntry } from './judge.ts';

/** The rows of these holds, by hold id. */
export const readLedger = async (
  db: Db,
  holdIds: readonly string[],
): Promise<ReadonlyMap<string, LedgerRow>> => {
  const params = holdIds.map((hold_id) => ({ hold_id }));
  const { rows } = await sql<LedgerRow>`
    select l.* from cost_ledger l
    join json_to_recordset(${toJsonParam(params)}::json) as x (hold_id text)
      on l.hold_id = x.hold_id collate "C"`.execute(db);
  return new Map(rows.map((row) => [row.hold_id, row]));
};

const upsertLedger = (db: Db, rows: readonly LedgerRow[]) =>
  sql`
    insert into cost_ledger (
      hold_id, tenant_id, user_id, agent, run_id, root_run_id, step, attempt, provider, model, price_version, day,
      held_nano, observed_nano, state, estimated, completed, settled_seq)
    select * from json_to_recordset(${toJsonParam(rows)}::json) as x (
      hold_id text, tenant_id text, user_id text, agent text, run_id text, root_run_id text, step int, attempt int,
      provider text, model text, price_version text, day date, held_nano bigint, observed_nano bigint, state text,
      estimated boolean, completed boolean, settled_seq int)
    on conflict (hold_id) do update set
      price_version = excluded.price_version, day = excluded.day, held_nano = excluded.held_nano,
      observed_nano = excluded.observed_nano, state = excluded.state, estimated = excluded.estimated,
      completed = excluded.completed, settled_seq = excluded.settled_seq`.execute(db);

const addToDays = (db: Db, rows: readonly DailyChange[]) =>
  // Several writers meet in these rows: one order for all, or they could wait for each other.
  sql`
    insert into daily_costs (tenant_id, day, user_id, agent, model, observed_nano, calls)
    select tenant_id, day, user_id, agent, model, sum(observed_nano), sum(calls)
    from json_to_recordset(${toJsonParam(rows)}::json) as x (
      tenant_id text, day date, user_id text, agent text, model text, observed_nano bigint, calls bigint)
    group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5
    on conflict (tenant_id, day, user_id, agent, model) do update set
      observed_nano = daily_costs.observed_nano + excluded.observed_nano,
      calls = daily_costs.calls + excluded.calls`.execute(db);

/**
 * Writes what newly stored events mean for the ledger and the days. The lock on a run covers its ledger
 * rows. Answers what each run's observed cost grows by.
 */
export const applyCosts = async (
  db: Db,
  fresh: readonly GoodEntry[],
): Promise<ReadonlyMap<string, number>> => {
  const holdIds = holdIdsOf(fresh);
  if (holdIds.length === 0) return new Map();
  const changes = costChanges(await readLedger(db, holdIds), fresh);
  await upsertLedger(db, changes.ledger);
  if (changes.daily.length > 0) await addToDays(db, changes.daily);
  return changes.observedNano;
};
