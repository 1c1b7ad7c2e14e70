-- One role per service; in production each logs in as a member of its own. Whoever may not create
-- roles gets a notice, and grants them by hand.

do $$
declare
  role_name text;
begin
  foreach role_name in array array['signalbox_writer', 'signalbox_api', 'signalbox_scheduler'] loop
    begin
      if not exists (select from pg_roles where rolname = role_name) then
        execute format('create role %I nologin', role_name);
      end if;
    exception
      -- Roles belong to the whole server: another database's migration may be a moment ahead.
      when duplicate_object or unique_violation then null;
      when insufficient_privilege then
        raise notice 'role % was not created: the migrating user lacks CREATEROLE', role_name;
    end;
  end loop;

  if exists (select from pg_roles where rolname = 'signalbox_writer') then
    grant select, insert on audit_events, audit_quarantine, run_keys, contents to signalbox_writer;
    grant select, insert, update on runs, cost_ledger, daily_costs to signalbox_writer;
  end if;

  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select on audit_events, audit_quarantine, run_keys, contents, runs, cost_ledger, daily_costs,
      replay_records to signalbox_api;
    grant select, insert, update on tenants, api_keys, agents to signalbox_api;
    grant select, insert on agent_versions to signalbox_api;
  end if;

  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on all tables in schema public to signalbox_scheduler;
    grant delete on run_keys, contents to signalbox_scheduler;
    grant execute on function ensure_audit_partitions(timestamptz, int) to signalbox_scheduler;
  end if;
end
$$;
