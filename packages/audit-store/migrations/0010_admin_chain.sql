-- Administration events: one hash chain per tenant, in audit_events under run_id `admin_<tenant>`, and what queries of
-- the audit log need.

-- `_` is followed by `` ` `` in collation C. They have no month, so they leave with no month's partition.
create table audit_events_admin partition of audit_events for values from ('admin_') to ('admin`');
create trigger audit_events_no_truncate before truncate on audit_events_admin
  for each statement execute function refuse_audit_change();
-- An event that is delivered again is known by its id.
create unique index audit_events_admin_event_id on audit_events_admin (run_id, event_id);

-- Where each chain ends; locked while events are added.
create table admin_chains (
  tenant_id text collate "C" primary key,
  seq int not null default 0,
  hash text not null
);

-- The audit log of a tenant, newest first.
create index audit_events_tenant on audit_events (tenant_id, ts desc, run_id desc, seq desc);

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_writer') then
    grant select, insert, update on admin_chains to signalbox_writer;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select on admin_chains to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on admin_chains to signalbox_scheduler;
  end if;
end
$$;
