-- Money, in integer nano-USD. A hold and its settlement may arrive in either order.

create table cost_ledger (
  hold_id text collate "C" primary key,
  tenant_id text not null,
  user_id text,
  agent text,
  run_id text collate "C" not null,
  root_run_id text collate "C" not null,
  step int not null,
  attempt int not null,
  provider text not null,
  -- provider/model, as everywhere.
  model text not null,
  -- Null until the hold has arrived.
  price_version text,
  day date,
  held_nano bigint,
  -- Null until it is settled.
  observed_nano bigint,
  state text not null check (state in ('held', 'settled', 'expired')),
  estimated boolean not null default false,
  -- True when the call was completed (llm.completed).
  completed boolean not null default false,
  -- seq of the event that settled it: a later settlement corrects an earlier one.
  settled_seq int
);

create index cost_ledger_run on cost_ledger (run_id);
create index cost_ledger_day on cost_ledger (tenant_id, day);
create index cost_ledger_held on cost_ledger (tenant_id) where state = 'held';

-- Sums of the ledger rows of which both halves are known. user_id and agent are '' where a run has none.
create table daily_costs (
  tenant_id text not null,
  day date not null,
  user_id text not null,
  agent text not null,
  model text not null,
  observed_nano bigint not null default 0,
  -- Completed model calls.
  calls bigint not null default 0,
  primary key (tenant_id, day, user_id, agent, model)
);
