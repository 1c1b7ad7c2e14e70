-- Key rotation (services/scheduler/src/rotate-keys.ts) wraps again what another key than the first one wrapped, and
-- nothing else of these rows.

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant update (wrapped_key) on run_keys to signalbox_scheduler;
    grant update (sealed_spec) on agent_versions to signalbox_scheduler;
  end if;
end
$$;
