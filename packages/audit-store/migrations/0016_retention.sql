-- Retention per tenant. Contents: the scheduler erases those of runs that ended so many days ago. Events: months are
-- shared by tenants and journals are never cut, so a month leaves when the longest period in it is over.

create table retention (
  tenant_id text primary key,
  -- Null: as long as the events.
  content_days int check (content_days between 0 and 3650),
  -- Null: as long as the installation keeps them.
  event_days int check (event_days between 183 and 3650),
  -- Id of the API key.
  changed_by text not null default '',
  changed_at timestamptz not null default now(),
  check (content_days <= event_days)
);

-- Whether erased_runs names the run, so that those it does not name yet are found among millions. Behind it by an
-- erasure that came before the run was stored: then it is erased again, which changes nothing.
alter table runs add column content_erased boolean not null default false;

update runs r set content_erased = true from erased_runs e where e.run_id = r.id;

create index runs_content_kept on runs (tenant_id, finished_at, id)
  where finished_at is not null and not content_erased;

-- As before, and the runs say so.
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
  -- In the writer's order: first the lock on erasures, then runs by their id.
  perform from runs where id = any(ids) order by id for update;
  update runs set content_erased = true where id = any(ids) and not content_erased;
  return query select e.run_id, e.erased_at from erased_runs e where e.run_id = any(ids);
end
$$;

-- How long the month with these runs is kept: as long as the tenant in it that keeps its events longest. `default_days`
-- counts for tenants that have set no period. Null: for ever.
create function month_keep_days(lower_id text, upper_id text, default_days int) returns int
  language sql stable set search_path = public, pg_temp as $$
  with recursive known (tenant_id) as (
    select min(tenant_id) from runs
    union all
    select (select min(r.tenant_id) from runs r where r.tenant_id > k.tenant_id)
    from known k where k.tenant_id is not null
  ), periods as (
    select coalesce(own.event_days, default_days) as days
    from known k left join retention own on own.tenant_id = k.tenant_id
    where exists (select from runs r where r.tenant_id = k.tenant_id and r.id >= lower_id and r.id < upper_id)
  )
  select case
    when count(*) = 0 then default_days
    when bool_or(days is null) then null
    else max(days)
  end from periods
$$;

-- As before, but each month is kept as long as its tenants want it. `keep_days` null: for ever, of tenants that have
-- set no period.
create or replace function detach_audit_partition(keep_days int) returns text
  language plpgsql security definer set search_path = public, pg_temp set lock_timeout = '3s' as $$
declare
  floor_days constant int := 183;
  month_days int;
  cutoff timestamptz;
  partition text;
  detached text;
  month timestamp;
  lower_id text;
  upper_id text;
  young boolean;
begin
  if keep_days < floor_days then
    raise exception 'audit events are kept for at least % days (six months), not %', floor_days, keep_days
      using errcode = 'invalid_parameter_value';
  end if;
  perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('ensure_audit_partitions'));
  for partition in
    select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'audit_events'::regclass and c.relname ~ '^audit_events_\d{4}_\d{2}$'
    order by c.relname
  loop
    month := to_date(right(partition, 7), 'YYYY_MM');
    exit when month + interval '1 month' > (now() - make_interval(days => floor_days)) at time zone 'UTC';
    lower_id := first_run_id_at(month);
    upper_id := first_run_id_at(month + interval '1 month');
    month_days := month_keep_days(lower_id, upper_id, keep_days);
    continue when month_days is null;
    cutoff := now() - make_interval(days => month_days);
    continue when month + interval '1 month' > cutoff at time zone 'UTC';
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

revoke execute on function month_keep_days(text, text, int) from public;

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select, insert, update on retention to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on retention to signalbox_scheduler;
  end if;
end
$$;
