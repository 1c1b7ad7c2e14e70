-- Each batch of the audit-writer is counted, in its own transaction. Run state keeps the number too, so that a Postgres
-- that lost what it had committed (a failover to a late replica, a backup that was put back) is seen.
alter table incarnations add column batches bigint not null default 0;

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_writer') then
    grant update (batches) on incarnations to signalbox_writer;
  end if;
end
$$;
