-- Retention: months of the journal that are older than they must be kept leave audit_events, whole, as tables of
-- their own (audit_detached_YYYY_MM), to be exported and dropped by a person.

-- Detaches the oldest month that may go, and answers its new name; null: none may. One at a time: audit_events is
-- locked until the transaction ends. (CONCURRENTLY is refused beside a default partition.) A month may go when all
-- of it is older than that: the month itself, its newest event, and no run of it is still to get one.
create function detach_audit_partition(keep_days int) returns text
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

revoke execute on function detach_audit_partition(int) from public;

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant execute on function detach_audit_partition(int) to signalbox_scheduler;
  end if;
end
$$;
