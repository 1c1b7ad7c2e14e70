-- Months leave in steps of bounded work, and no hold is passed by that was answered before its month left.

-- Up to where the runs of a month are known to be stored whole, while it is on its way out.
create table audit_months (
  -- Of the partition.
  name text primary key,
  whole_to text collate "C" not null
);

-- Whether a run of the month, or the tenant of one, is under legal hold.
create function month_is_held(lower_id text, upper_id text) returns boolean
  language sql stable set search_path = public, pg_temp as $$
  select exists (select from legal_holds h where h.run_id >= lower_id and h.run_id < upper_id)
    or exists (
      select from legal_holds h
      cross join lateral (
        select from runs r where r.tenant_id = h.tenant_id and r.id >= lower_id and r.id < upper_id limit 1
      ) run
      where h.run_id = '')
$$;

-- As before, but of the runs of a month it looks at so many and no more, since there may be millions, and keeps where
-- that ended. `most` is at least 2. '': all it looked at are stored whole, and there are more; ask again.
drop function detach_audit_partition(int);
create function detach_audit_partition(keep_days int, most int default 200000) returns text
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
  looked int;
  last_id text;
  first_open text;
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
    continue when month_is_held(lower_id, upper_id);
    -- All of them have ended by now, so one that is stored whole stays so.
    select count(*), max(id), min(id) filter (where is_open) into looked, last_id, first_open from (
      select id, status_seq > last_seq as is_open from runs
      where id >= coalesce((select m.whole_to from audit_months m where m.name = partition), lower_id) and id < upper_id
      order by id limit most
    ) look;
    if first_open is not null or looked = most then
      insert into audit_months (name, whole_to) values (partition, coalesce(first_open, last_id))
        on conflict (name) do update set whole_to = excluded.whole_to;
      continue when first_open is not null;
      return '';
    end if;
    -- A hold takes this lock too: one that was being saved is seen now, and the next waits until the month has left.
    perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('erasure'));
    if month_is_held(lower_id, upper_id) then return null; end if;
    delete from audit_months where name = partition;
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

revoke execute on function month_is_held(text, text) from public;
revoke execute on function detach_audit_partition(int, int) from public;

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant execute on function detach_audit_partition(int, int) to signalbox_scheduler;
  end if;
end
$$;
