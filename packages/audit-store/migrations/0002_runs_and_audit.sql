-- The journal as it is proven, and the run as it is listed. No foreign keys here: the writer must
-- be able to store an event whatever else is missing (R9).

create table runs (
  id text collate "C" primary key,
  tenant_id text not null,
  status text not null default 'queued'
    check (status in ('queued', 'running', 'waiting', 'succeeded', 'failed', 'aborted')),
  waiting_for text,
  error_code text,
  agent text,
  agent_version int,
  user_id text,
  session_id text,
  parent_run_id text,
  forked_from text,
  root_run_id text not null,
  model text,
  priority text,
  cap_nano bigint,
  cost_observed_nano bigint not null default 0,
  cost_observed_usd numeric generated always as (cost_observed_nano * 0.000000001) stored,
  estimated boolean not null default false,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  cache_read_tokens bigint not null default 0,
  cache_write_tokens bigint not null default 0,
  steps int not null default 0,
  epoch bigint not null default 0,
  -- Highest seq up to which no event is missing.
  last_seq int not null default 0,
  -- Events that set status and started_at, so that a late older one does not undo a newer one.
  status_seq int not null default 0,
  started_seq int,
  created_at timestamptz not null,
  started_at timestamptz,
  finished_at timestamptz
);

-- The filters of GET /v1/runs, newest first.
create index runs_tenant on runs (tenant_id, id desc);
create index runs_status on runs (tenant_id, status, id desc);
create index runs_agent on runs (tenant_id, agent, id desc) where agent is not null;
create index runs_user on runs (tenant_id, user_id, id desc) where user_id is not null;
create index runs_session on runs (tenant_id, session_id, id desc) where session_id is not null;

-- Partitioned by run_id: `run_` and a uuidv7, so by the month a run was made, and the key stays (run_id, seq).
create table audit_events (
  run_id text collate "C" not null,
  seq int not null check (seq > 0),
  event_id text not null,
  tenant_id text not null,
  epoch bigint,
  type text not null,
  category text not null,
  ts timestamptz not null,
  actor jsonb,
  -- Without NUL and lone surrogates, which jsonb cannot hold; `body` is exact.
  data jsonb not null default '{}',
  refs jsonb not null default '{}',
  prev text,
  hash text not null,
  -- The exact text that was hashed. Null: a stub, the event lies in audit_quarantine.
  body text,
  primary key (run_id, seq)
) partition by range (run_id);

create index audit_events_ts on audit_events using brin (ts);

create table audit_events_default partition of audit_events default;

create function refuse_audit_change() returns trigger language plpgsql as $$
begin
  raise exception 'audit_events is append-only: % refused; rows leave only with their partition', tg_op
    using errcode = 'insufficient_privilege';
end
$$;

create trigger audit_events_append_only before update or delete on audit_events
  for each row execute function refuse_audit_change();
-- Statement triggers are not inherited: every partition gets its own.
create trigger audit_events_no_truncate before truncate on audit_events
  for each statement execute function refuse_audit_change();
create trigger audit_events_no_truncate before truncate on audit_events_default
  for each statement execute function refuse_audit_change();

-- The smallest run id that can be made at this instant (UTC, without zone).
create function first_run_id_at(instant timestamp) returns text language sql immutable as $$
  select 'run_' || lpad(to_hex((extract(epoch from instant) * 1000)::bigint), 12, '0')
$$;

-- Makes the partitions of `months` months, beginning with the month of `starting` (UTC). Answers how
-- many were made. A month of which the default partition already holds rows stays there.
create function ensure_audit_partitions(starting timestamptz, months int) returns int
  language plpgsql security definer set search_path = public, pg_temp as $$
declare
  month timestamp := date_trunc('month', starting at time zone 'UTC');
  made int := 0;
begin
  perform pg_advisory_xact_lock(hashtext('signalbox'), hashtext('ensure_audit_partitions'));
  for i in 1 .. months loop
    declare
      partition text := 'audit_events_' || to_char(month, 'YYYY_MM');
      lower_id text := first_run_id_at(month);
      upper_id text := first_run_id_at(month + interval '1 month');
    begin
      if to_regclass('public.' || partition) is not null then
        null;
      elsif exists (select from audit_events_default where run_id >= lower_id and run_id < upper_id) then
        raise warning 'the default partition already holds events of %: % is not made', month, partition;
      else
        execute format(
          'create table %I partition of audit_events for values from (%L) to (%L)', partition, lower_id, upper_id);
        execute format(
          'create trigger audit_events_no_truncate before truncate on %I '
          'for each statement execute function refuse_audit_change()', partition);
        made := made + 1;
      end if;
    end;
    month := month + interval '1 month';
  end loop;
  return made;
end
$$;

revoke execute on function ensure_audit_partitions(timestamptz, int) from public;

select ensure_audit_partitions(now(), 3);

-- The data key of a run, wrapped by the keyring. Deleting the row erases what the run said, not what it did.
create table run_keys (
  run_id text collate "C" primary key,
  wrapped_key text not null
);

create table contents (
  run_id text collate "C" not null,
  -- sha256:<hex of the ciphertext>, as an event's refs name it.
  ref text collate "C" not null,
  sealed bytea not null,
  primary key (run_id, ref)
);
-- Ciphertext does not compress.
alter table contents alter column sealed set storage external;

-- What could not be stored as what it claims to be. `id` is a hash of run and raw, so a redelivery adds nothing.
create table audit_quarantine (
  id text primary key,
  stream_id text not null,
  run_id text not null,
  seq int,
  -- unreadable, not_authentic, wrong_run, fork: one entry; refused: a whole record as JSON.
  reason text not null,
  detail text not null default '',
  raw bytea not null,
  created_at timestamptz not null default now()
);

create index audit_quarantine_run on audit_quarantine (run_id);
