-- What may be spent, and how much may run at once. Redis has a mirror that holds are judged by; after a
-- loss the scheduler writes it again from here.

create table caps (
  tenant_id text not null references tenants (id),
  -- '' for the tenant itself, else one of its users.
  user_id text collate "C" not null default '',
  -- run, daily, monthly: of the tenant, or of the user. user_daily, user_monthly: of each user that has no
  -- own. max_runs, user_max_runs: runs at once, of the tenant and of each of its users.
  name text not null
    check (name in ('run', 'daily', 'monthly', 'user_daily', 'user_monthly', 'max_runs', 'user_max_runs')),
  -- nano-USD, or a number of runs. Null: none, said explicitly. A cap that was never set has no row.
  amount bigint check (amount between 0 and 9000000000000000),
  updated_at timestamptz not null default now(),
  -- Id of the API key; '' for the defaults a tenant began with.
  updated_by text not null default '',
  primary key (tenant_id, user_id, name),
  check (user_id = '' or name in ('run', 'daily', 'monthly'))
);

-- A change of zone begins at a midnight of the zone before it.
alter table tenants
  add column next_time_zone text,
  add column next_time_zone_from timestamptz,
  add check ((next_time_zone is null) = (next_time_zone_from is null));

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select, insert, update, delete on caps to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on caps to signalbox_scheduler;
  end if;
end
$$;
