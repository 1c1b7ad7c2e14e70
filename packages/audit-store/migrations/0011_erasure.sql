-- Erasure: what was said in a run is destroyed, what it did and cost stays. The journal names contents by the hash of
-- their ciphertext only, so its chain stays whole.

-- Runs whose contents were erased. The writer asks here before it stores a key or contents: what was still on its way
-- must not bring them back.
create table erased_runs (
  run_id text collate "C" primary key,
  tenant_id text not null,
  erased_at timestamptz not null default now()
);

create index erased_runs_time on erased_runs (erased_at);

-- Destroys the keys and contents of these runs of one tenant, and answers since when they are erased. Batches of the
-- writer share the lock, so each is either stored before and destroyed here, or sees the erasure.
create function erase_run_contents(tenant text, ids text[])
  returns table (erased_id text, since timestamptz)
  language plpgsql security definer set search_path = public, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('erasure'));
  insert into erased_runs (run_id, tenant_id) select id, tenant from unnest(ids) as x (id)
    on conflict (run_id) do nothing;
  delete from run_keys where run_id = any(ids);
  delete from contents where run_id = any(ids);
  -- A whole record that Postgres would not take: its events stay.
  update audit_quarantine set raw = convert_to(json_build_object(
      'streamId', record -> 'streamId', 'runId', record -> 'runId', 'tenantId', record -> 'tenantId',
      'entries', record -> 'entries')::text, 'UTF8')
    from (select id as quarantine_id, convert_from(raw, 'UTF8')::json as record
      from audit_quarantine where run_id = any(ids) and reason = 'refused') refused
    where id = quarantine_id;
  return query select e.run_id, e.erased_at from erased_runs e where e.run_id = any(ids);
end
$$;

revoke execute on function erase_run_contents(text, text[]) from public;

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_writer') then
    grant select on erased_runs to signalbox_writer;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select on erased_runs to signalbox_api;
    grant execute on function erase_run_contents(text, text[]) to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on erased_runs to signalbox_scheduler;
    grant execute on function erase_run_contents(text, text[]) to signalbox_scheduler;
  end if;
end
$$;
