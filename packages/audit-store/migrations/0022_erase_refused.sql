-- A run is erased whatever Postgres would not take of it.

create or replace function erase_run_contents(tenant text, ids text[])
returns table (erased_id text, since timestamptz) language plpgsql
security definer set search_path = public, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('erasure'));
  if exists (select from legal_holds h where h.tenant_id = tenant and (h.run_id = '' or h.run_id = any(ids))) then
    raise exception 'under legal hold' using errcode = 'SBLH1';
  end if;
  insert into erased_runs (run_id, tenant_id) select id, tenant from unnest(ids) as x (id)
    on conflict (run_id) do nothing;
  delete from run_keys where run_id = any(ids);
  delete from contents where run_id = any(ids);
  -- A whole record that Postgres would not take: its events stay. NUL and half a surrogate pair, which may be why, make
  -- it no JSON that can be read either; as an escape of its own, not behind a backslash that is escaped itself.
  update audit_quarantine set raw = convert_to(json_build_object(
      'streamId', record -> 'streamId', 'runId', record -> 'runId', 'tenantId', record -> 'tenantId',
      'entries', record -> 'entries')::text, 'UTF8')
    from (select id as quarantine_id, regexp_replace(
        convert_from(raw, 'UTF8'), '(?<!\\)((\\\\)*)\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\1\\ufffd', 'g')::json as record
      from audit_quarantine where run_id = any(ids) and reason = 'refused') refused
    where id = quarantine_id;
  -- In the writer's order: first the lock on erasures, then runs by their id.
  perform from runs where id = any(ids) order by id for update;
  update runs set content_erased = true where id = any(ids) and not content_erased;
  return query select e.run_id, e.erased_at from erased_runs e where e.run_id = any(ids);
end
$$;
