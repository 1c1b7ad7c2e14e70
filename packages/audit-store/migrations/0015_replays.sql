-- Jobs that replay many stored runs (POST /v1/replays). The api makes and works them; nothing that was said stands here
-- in clear.

create table replays (
  id text collate "C" primary key,
  tenant_id text not null,
  -- Id of the API key.
  created_by text not null,
  status text not null default 'queued' check (status in ('queued', 'running', 'done', 'failed', 'aborted')),
  filter jsonb not null,
  compare text not null,
  mode text not null,
  -- Which changes are tried; null once the job ended, when nobody needs them any more.
  changed jsonb not null,
  sealed_changes text,
  -- What the caps of all forks may add up to; null: none is made.
  budget_nano bigint check (budget_nano >= 0),
  -- HMACs of an Idempotency-Key and its body.
  key_digest text,
  fingerprint text,
  -- The last run that was looked at: the next page begins behind it.
  cursor text collate "C",
  selected int not null default 0,
  identical int not null default 0,
  diverged int not null default 0,
  failed int not null default 0,
  not_forked int not null default 0,
  steps bigint not null default 0,
  busy_ms bigint not null default 0,
  -- The first ones.
  divergences jsonb not null default '[]',
  failures jsonb not null default '[]',
  error text,
  -- Who works on it, and how long that is believed.
  owner text,
  lease_until timestamptz,
  -- Owners lost since the last page that was done.
  takeovers int not null default 0,
  -- Jobs take turns: the one that waits longest is next.
  touched_at timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz
);
create unique index replays_key on replays (tenant_id, key_digest);
create index replays_open on replays (touched_at) where status in ('queued', 'running');

-- A row is a hold on the job's budget, written before the fork is made.
create table replay_forks (
  replay_id text collate "C" not null references replays (id),
  run_id text collate "C" not null,
  from_step int not null,
  cap_nano bigint not null check (cap_nano >= 0),
  -- The fork, once it is there.
  fork_run_id text collate "C",
  held_at timestamptz not null default now(),
  primary key (replay_id, run_id)
);

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select, insert, update on replays to signalbox_api;
    grant select, insert, update, delete on replay_forks to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on replays, replay_forks to signalbox_scheduler;
  end if;
end
$$;
