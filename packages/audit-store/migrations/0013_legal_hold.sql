-- Legal hold: what must be kept as it is. A run that is held, or is a held tenant's, is not erased, and its month is
-- not detached.

create table legal_holds (
  tenant_id text not null,
  -- '' for everything of the tenant.
  run_id text collate "C" not null default '',
  reason text,
  -- Id of the API key.
  held_by text not null,
  since timestamptz not null default now(),
  primary key (tenant_id, run_id)
);

create index legal_holds_run on legal_holds (run_id);

-- As before, but what is held is refused. A change of a hold takes the same lock.
create or replace function erase_run_contents(tenant text, ids text[])
  returns table (erased_id text, since timestamptz)
  language plpgsql security definer set search_path = public, pg_temp as $$
begin
  perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('erasure'));
  if exists (select from legal_holds h where h.tenant_id = tenant and (h.run_id = '' or h.run_id = any(ids))) then
    raise exception 'under legal hold' using errcode = 'SBLH1';
  end if;
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

-- As before, but a month with what is held stays.
create or replace function detach_audit_partition(keep_days int) returns text
  language plpgsql security definer set search_path = public, pg_temp set lock_timeout = '3s' as $$
declare
  cutoff timestamptz := now() - make_interval(days => keep_days);
  partition text;
  detached text;
  month timestamp;
  lower_id text;
  upper_id text;
  young boolean;
begin
  if keep_days is null or keep_days < 183 then
    raise exception 'audit events are kept for at least 183 days (six months), not %', keep_days
      using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('ensure_audit_partitions'));
  for partition in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit_events'::regclass and c.relname ~ '^audit_events_\d{4}_\d{2}$'
    order by c.relname
  loop
    month := to_date(right(partition, 7), 'YYYY_MM');
    exit when month + interval '1 month' > cutoff at time zone 'UTC';
    lower_id := first_run_id_at(month);
    upper_id := first_run_id_at(month + interval '1 month');
    continue when exists (
      select from runs where id >= lower_id and id < upper_id and status in ('queued', 'running', 'waiting'));
    execute format('select exists (select from %I where ts >= $1)', partition) into young using cutoff;
    continue when young;
    continue when exists (select from runs where id >= lower_id and id < upper_id and status_seq > last_seq);
    continue when exists (
      select from legal_holds h where h.run_id >= lower_id and h.run_id < upper_id);
    continue when exists (
      select from legal_holds h join runs r on r.tenant_id = h.tenant_id
      where h.run_id = '' and r.id >= lower_id and r.id < upper_id);
    detached := replace(partition, 'audit_events', 'audit_detached');
    execute format('alter table audit_events detach partition %I', partition);
    execute format('alter table %I rename to %I', partition, detached);
    -- The row trigger of audit_events left it with the partition's place; what it keeps stays as it is.
    execute format(
      'create trigger audit_events_append_only before update or delete on %I '
      'for each row execute function refuse_audit_change()', detached);
    return detached;
  end loop;
  return null;
end
$$;

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select, insert, update, delete on legal_holds to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on legal_holds to signalbox_scheduler;
  end if;
end
$$;
