-- Trust in Redis: how often a partition's run state was verified against this database. Epochs of claims and
-- batches of the audit-writer name the incarnation they belong to.

create table incarnations (
  partition int primary key,
  n int not null default 0,
  verified_at timestamptz not null default now()
);

-- What a verification looks through.
create index runs_live on runs (id) where status in ('queued', 'running', 'waiting');

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_writer') then
    grant select on incarnations to signalbox_writer;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select, insert, update on incarnations to signalbox_scheduler;
  end if;
end
$$;
