-- Made by `npm run schema --prefix packages/audit-store` from the migrations. Do not edit.

create table admin_chains (
  tenant_id text collate "C" not null,
  seq integer default 0 not null,
  hash text not null,
  constraint admin_chains_pkey PRIMARY KEY (tenant_id)
);

create table agent_versions (
  tenant_id text not null,
  name text collate "C" not null,
  version integer not null,
  digest text not null,
  sealed_spec text not null,
  created_at timestamp with time zone default now() not null,
  constraint agent_versions_pkey PRIMARY KEY (tenant_id, name, version),
  constraint agent_versions_tenant_id_name_digest_key UNIQUE (tenant_id, name, digest),
  constraint agent_versions_tenant_id_name_fkey FOREIGN KEY (tenant_id, name) REFERENCES agents(tenant_id, name),
  constraint agent_versions_version_check CHECK ((version > 0))
);

create table agents (
  tenant_id text not null,
  name text collate "C" not null,
  latest_version integer default 0 not null,
  created_at timestamp with time zone default now() not null,
  constraint agents_pkey PRIMARY KEY (tenant_id, name),
  constraint agents_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id)
);

create table api_keys (
  id text not null,
  tenant_id text not null,
  name text default ''::text not null,
  hash text not null,
  scopes text[] not null,
  created_at timestamp with time zone default now() not null,
  expires_at timestamp with time zone,
  revoked_at timestamp with time zone,
  constraint api_keys_hash_check CHECK ((hash ~ '^[0-9a-f]{64}$'::text)),
  constraint api_keys_hash_key UNIQUE (hash),
  constraint api_keys_pkey PRIMARY KEY (id),
  constraint api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id)
);

create table audit_events (
  run_id text collate "C" not null,
  seq integer not null,
  event_id text not null,
  tenant_id text not null,
  epoch bigint,
  type text not null,
  category text not null,
  ts timestamp with time zone not null,
  actor jsonb,
  data jsonb default '{}'::jsonb not null,
  refs jsonb default '{}'::jsonb not null,
  prev text,
  hash text not null,
  body text,
  constraint audit_events_pkey PRIMARY KEY (run_id, seq),
  constraint audit_events_seq_check CHECK ((seq > 0))
) partition by RANGE (run_id);

create table audit_events_admin partition of audit_events FOR VALUES FROM ('admin_') TO ('admin`');

create table audit_events_default partition of audit_events DEFAULT;

create table audit_months (
  name text not null,
  whole_to text collate "C" not null,
  constraint audit_months_pkey PRIMARY KEY (name)
);

create table audit_quarantine (
  id text not null,
  stream_id text not null,
  run_id text not null,
  seq integer,
  reason text not null,
  detail text default ''::text not null,
  raw bytea not null,
  created_at timestamp with time zone default now() not null,
  constraint audit_quarantine_pkey PRIMARY KEY (id)
);

create table caps (
  tenant_id text not null,
  user_id text collate "C" default ''::text not null,
  name text not null,
  amount bigint,
  updated_at timestamp with time zone default now() not null,
  updated_by text default ''::text not null,
  constraint caps_amount_check CHECK (((amount >= 0) AND (amount <= '9000000000000000'::bigint))),
  constraint caps_check CHECK (((user_id = ''::text) OR (name = ANY (ARRAY['run'::text, 'daily'::text, 'monthly'::text])))),
  constraint caps_name_check CHECK ((name = ANY (ARRAY['run'::text, 'daily'::text, 'monthly'::text, 'user_daily'::text, 'user_monthly'::text, 'max_runs'::text, 'user_max_runs'::text]))),
  constraint caps_pkey PRIMARY KEY (tenant_id, user_id, name),
  constraint caps_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id)
);

create table checkpoint_due (
  tenant_id text collate "C" not null,
  run_id text collate "C" not null,
  seq integer not null,
  since timestamp with time zone default now() not null,
  constraint checkpoint_due_pkey PRIMARY KEY (tenant_id, run_id)
);

create table checkpoint_leaves (
  tenant_id text collate "C" not null,
  run_id text collate "C" not null,
  seq integer not null,
  hash text not null,
  n integer not null,
  constraint checkpoint_leaves_pkey PRIMARY KEY (tenant_id, run_id, seq)
);

create table checkpoints (
  tenant_id text collate "C" not null,
  n integer not null,
  ts timestamp with time zone not null,
  prev text not null,
  root text not null,
  chains integer not null,
  key_id text not null,
  public_key text not null,
  hash text not null,
  signature text not null,
  constraint checkpoints_chains_check CHECK ((chains > 0)),
  constraint checkpoints_n_check CHECK ((n > 0)),
  constraint checkpoints_pkey PRIMARY KEY (tenant_id, n)
);

create table contents (
  run_id text collate "C" not null,
  ref text collate "C" not null,
  sealed bytea storage external not null,
  constraint contents_pkey PRIMARY KEY (run_id, ref)
);

create table cost_ledger (
  hold_id text collate "C" not null,
  tenant_id text not null,
  user_id text,
  agent text,
  run_id text collate "C" not null,
  root_run_id text collate "C" not null,
  step integer not null,
  attempt integer not null,
  provider text not null,
  model text not null,
  price_version text,
  day date,
  held_nano bigint,
  observed_nano bigint,
  state text not null,
  estimated boolean default false not null,
  completed boolean default false not null,
  settled_seq integer,
  constraint cost_ledger_pkey PRIMARY KEY (hold_id),
  constraint cost_ledger_state_check CHECK ((state = ANY (ARRAY['held'::text, 'settled'::text, 'expired'::text])))
);

create table daily_costs (
  tenant_id text not null,
  day date not null,
  user_id text not null,
  agent text not null,
  model text not null,
  observed_nano bigint default 0 not null,
  calls bigint default 0 not null,
  constraint daily_costs_pkey PRIMARY KEY (tenant_id, day, user_id, agent, model)
);

create table erased_runs (
  run_id text collate "C" not null,
  tenant_id text not null,
  erased_at timestamp with time zone default now() not null,
  constraint erased_runs_pkey PRIMARY KEY (run_id)
);

create table incarnations (
  partition integer not null,
  n integer default 0 not null,
  verified_at timestamp with time zone default now() not null,
  batches bigint default 0 not null,
  constraint incarnations_pkey PRIMARY KEY (partition)
);

create table legal_holds (
  tenant_id text not null,
  run_id text collate "C" default ''::text not null,
  reason text,
  held_by text not null,
  since timestamp with time zone default now() not null,
  constraint legal_holds_pkey PRIMARY KEY (tenant_id, run_id)
);

create table provider_keys (
  tenant_id text not null,
  provider text not null,
  key_id text not null,
  sealed_key text not null,
  set_at timestamp with time zone default now() not null,
  set_by text not null,
  constraint provider_keys_pkey PRIMARY KEY (tenant_id, provider),
  constraint provider_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(id)
);

create table replay_forks (
  replay_id text collate "C" not null,
  run_id text collate "C" not null,
  from_step integer not null,
  cap_nano bigint not null,
  fork_run_id text collate "C",
  held_at timestamp with time zone default now() not null,
  constraint replay_forks_cap_nano_check CHECK ((cap_nano >= 0)),
  constraint replay_forks_pkey PRIMARY KEY (replay_id, run_id),
  constraint replay_forks_replay_id_fkey FOREIGN KEY (replay_id) REFERENCES replays(id)
);

create table replay_marks (
  tenant_id text not null,
  key_digest text not null,
  fingerprint text not null,
  replay_id text collate "C" not null,
  constraint replay_marks_pkey PRIMARY KEY (tenant_id, key_digest),
  constraint replay_marks_replay_id_fkey FOREIGN KEY (replay_id) REFERENCES replays(id)
);

create table replays (
  id text collate "C" not null,
  tenant_id text not null,
  created_by text not null,
  status text default 'queued'::text not null,
  filter jsonb not null,
  compare text not null,
  mode text not null,
  changed jsonb not null,
  sealed_changes text,
  budget_nano bigint,
  key_digest text,
  fingerprint text,
  cursor text collate "C",
  selected integer default 0 not null,
  identical integer default 0 not null,
  diverged integer default 0 not null,
  failed integer default 0 not null,
  not_forked integer default 0 not null,
  steps bigint default 0 not null,
  busy_ms bigint default 0 not null,
  divergences jsonb default '[]'::jsonb not null,
  failures jsonb default '[]'::jsonb not null,
  error text,
  owner text,
  lease_until timestamp with time zone,
  takeovers integer default 0 not null,
  touched_at timestamp with time zone default clock_timestamp() not null,
  created_at timestamp with time zone default now() not null,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  constraint replays_budget_nano_check CHECK ((budget_nano >= 0)),
  constraint replays_pkey PRIMARY KEY (id),
  constraint replays_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'aborted'::text])))
);

create table retention (
  tenant_id text not null,
  content_days integer,
  event_days integer,
  changed_by text default ''::text not null,
  changed_at timestamp with time zone default now() not null,
  constraint retention_check CHECK ((content_days <= event_days)),
  constraint retention_content_days_check CHECK (((content_days >= 0) AND (content_days <= 3650))),
  constraint retention_event_days_check CHECK (((event_days >= 183) AND (event_days <= 3650))),
  constraint retention_pkey PRIMARY KEY (tenant_id)
);

create table run_keys (
  run_id text collate "C" not null,
  wrapped_key text not null,
  constraint run_keys_pkey PRIMARY KEY (run_id)
);

create table runs (
  id text collate "C" not null,
  tenant_id text not null,
  status text default 'queued'::text not null,
  waiting_for text,
  error_code text,
  agent text,
  agent_version integer,
  user_id text,
  session_id text,
  parent_run_id text,
  forked_from text,
  root_run_id text not null,
  model text,
  priority text,
  cap_nano bigint,
  cost_observed_nano bigint default 0 not null,
  cost_observed_usd numeric generated always as (((cost_observed_nano)::numeric * 0.000000001)) stored,
  estimated boolean default false not null,
  input_tokens bigint default 0 not null,
  output_tokens bigint default 0 not null,
  cache_read_tokens bigint default 0 not null,
  cache_write_tokens bigint default 0 not null,
  steps integer default 0 not null,
  epoch bigint default 0 not null,
  last_seq integer default 0 not null,
  status_seq integer default 0 not null,
  started_seq integer,
  created_at timestamp with time zone not null,
  started_at timestamp with time zone,
  finished_at timestamp with time zone,
  idempotency_key_digest text,
  idempotency_fingerprint text,
  content_erased boolean default false not null,
  constraint runs_pkey PRIMARY KEY (id),
  constraint runs_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text, 'succeeded'::text, 'failed'::text, 'aborted'::text])))
);

create table schema_migrations (
  name text not null,
  sha256 text not null,
  applied_at timestamp with time zone default now() not null,
  constraint schema_migrations_pkey PRIMARY KEY (name)
);

create table tenants (
  id text not null,
  partition integer default 0 not null,
  time_zone text default 'UTC'::text not null,
  created_at timestamp with time zone default now() not null,
  next_time_zone text,
  next_time_zone_from timestamp with time zone,
  constraint tenants_check CHECK (((next_time_zone IS NULL) = (next_time_zone_from IS NULL))),
  constraint tenants_partition_check CHECK ((partition >= 0)),
  constraint tenants_pkey PRIMARY KEY (id)
);

CREATE INDEX api_keys_tenant ON public.api_keys USING btree (tenant_id, id);

CREATE INDEX audit_events_tenant ON ONLY public.audit_events USING btree (tenant_id, ts DESC, run_id DESC, seq DESC);

CREATE INDEX audit_events_ts ON ONLY public.audit_events USING brin (ts);

CREATE INDEX audit_quarantine_run ON public.audit_quarantine USING btree (run_id);

CREATE INDEX checkpoint_due_since ON public.checkpoint_due USING btree (since);

CREATE INDEX checkpoint_leaves_n ON public.checkpoint_leaves USING btree (tenant_id, n);

CREATE INDEX cost_ledger_apart ON public.cost_ledger USING btree (tenant_id, day) INCLUDE (user_id, agent, model, held_nano, observed_nano, state, estimated) WHERE (estimated OR (NOT completed));

CREATE INDEX cost_ledger_day ON public.cost_ledger USING btree (tenant_id, day);

CREATE INDEX cost_ledger_run ON public.cost_ledger USING btree (run_id);

CREATE INDEX cost_ledger_tree ON public.cost_ledger USING btree (root_run_id) WHERE (root_run_id <> run_id);

CREATE INDEX daily_costs_day ON public.daily_costs USING btree (day);

CREATE INDEX erased_runs_time ON public.erased_runs USING btree (erased_at);

CREATE INDEX legal_holds_run ON public.legal_holds USING btree (run_id);

CREATE INDEX replays_open ON public.replays USING btree (touched_at) WHERE (status = ANY (ARRAY['queued'::text, 'running'::text]));

CREATE INDEX runs_agent ON public.runs USING btree (tenant_id, agent, id DESC) WHERE (agent IS NOT NULL);

CREATE INDEX runs_content_kept ON public.runs USING btree (tenant_id, finished_at, id) WHERE ((finished_at IS NOT NULL) AND (NOT content_erased));

CREATE INDEX runs_idempotency ON public.runs USING btree (id) WHERE (idempotency_key_digest IS NOT NULL);

CREATE INDEX runs_live ON public.runs USING btree (id) WHERE (status = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text]));

CREATE INDEX runs_session ON public.runs USING btree (tenant_id, session_id, id DESC) WHERE (session_id IS NOT NULL);

CREATE INDEX runs_status ON public.runs USING btree (tenant_id, status, id DESC);

CREATE INDEX runs_tenant ON public.runs USING btree (tenant_id, id DESC);

CREATE INDEX runs_user ON public.runs USING btree (tenant_id, user_id, id DESC) WHERE (user_id IS NOT NULL);

CREATE UNIQUE INDEX audit_events_admin_event_id ON public.audit_events_admin USING btree (run_id, event_id);

CREATE UNIQUE INDEX replays_key ON public.replays USING btree (tenant_id, key_digest);

create view replay_records as
 SELECT request.run_id,
    (request.data ->> 'step'::text)::integer AS step_index,
    (request.data ->> 'attempt'::text)::integer AS attempt,
    request.category AS kind,
    ( SELECT COALESCE(said.refs ->> 'output'::text, said.refs ->> 'result'::text, said.refs ->> 'submission'::text) AS "coalesce"
           FROM audit_events said
          WHERE said.run_id = request.run_id AND said.seq < request.seq AND (said.type = 'llm.completed'::text OR request.category = 'llm'::text AND (said.type = ANY (ARRAY['run.submitted'::text, 'tool.completed'::text, 'tool.failed'::text])))
          ORDER BY said.seq DESC
         LIMIT 1) AS input_ref,
    COALESCE(finish.refs ->> 'output'::text, finish.refs ->> 'result'::text) AS output_ref,
    request.data ->> 'model'::text AS model,
    (((request.data -> 'hold'::text) ->> 'amount_nano'::text)::bigint)::numeric * 0.000000001 AS cost_estimate_usd,
    ledger.observed_nano::numeric * 0.000000001 AS cost_observed_usd,
    (request.data -> 'hold'::text) ->> 'price_version'::text AS price_version,
    request.ts AS started_at,
    finish.ts AS finished_at,
    request.tenant_id,
    request.data ->> 'name'::text AS tool,
    split_part(finish.type, '.'::text, 2) AS outcome
   FROM audit_events request
     LEFT JOIN audit_events finish ON finish.run_id = request.run_id AND (finish.type = (request.category || '.completed'::text) OR finish.type = (request.category || '.failed'::text)) AND (finish.data -> 'step'::text) = (request.data -> 'step'::text) AND (finish.data -> 'attempt'::text) = (request.data -> 'attempt'::text)
     LEFT JOIN cost_ledger ledger ON ledger.hold_id = ((request.data -> 'hold'::text) ->> 'id'::text)
  WHERE request.type = ANY (ARRAY['llm.requested'::text, 'tool.requested'::text]);

CREATE OR REPLACE FUNCTION public.detach_audit_partition(keep_days integer, most integer DEFAULT 200000)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
 SET lock_timeout TO '3s'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.ensure_audit_partitions(starting timestamp with time zone, months integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.erase_run_contents(tenant text, ids text[])
 RETURNS TABLE(erased_id text, since timestamp with time zone)
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.first_run_id_at(instant timestamp without time zone)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select 'run_' || lpad(to_hex((extract(epoch from instant) * 1000)::bigint), 12, '0')
$function$;

CREATE OR REPLACE FUNCTION public.month_is_held(lower_id text, upper_id text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'public', 'pg_temp'
AS $function$
  select exists (select from legal_holds h where h.run_id >= lower_id and h.run_id < upper_id)
    or exists (
      select from legal_holds h
      cross join lateral (
        select from runs r where r.tenant_id = h.tenant_id and r.id >= lower_id and r.id < upper_id limit 1
      ) run
      where h.run_id = '')
$function$;

CREATE OR REPLACE FUNCTION public.month_keep_days(lower_id text, upper_id text, default_days integer)
 RETURNS integer
 LANGUAGE sql
 STABLE
 SET search_path TO 'public', 'pg_temp'
AS $function$
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
$function$;

CREATE OR REPLACE FUNCTION public.refuse_audit_change()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
  raise exception 'audit_events is append-only: % refused; rows leave only with their partition', tg_op
    using errcode = 'insufficient_privilege';
end
$function$;

CREATE TRIGGER audit_events_append_only BEFORE DELETE OR UPDATE ON public.audit_events FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON public.audit_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER audit_events_append_only BEFORE DELETE OR UPDATE ON public.audit_events_admin FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON public.audit_events_admin FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER audit_events_append_only BEFORE DELETE OR UPDATE ON public.audit_events_default FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON public.audit_events_default FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER checkpoint_leaves_append_only BEFORE DELETE OR UPDATE ON public.checkpoint_leaves FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER checkpoint_leaves_no_truncate BEFORE TRUNCATE ON public.checkpoint_leaves FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER checkpoints_append_only BEFORE DELETE OR UPDATE ON public.checkpoints FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER checkpoints_no_truncate BEFORE TRUNCATE ON public.checkpoints FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

grant select on admin_chains to signalbox_api;
grant select on admin_chains to signalbox_scheduler;
grant insert, select, update on admin_chains to signalbox_writer;
grant insert, select on agent_versions to signalbox_api;
grant select on agent_versions to signalbox_scheduler;
grant insert, select, update on agents to signalbox_api;
grant select on agents to signalbox_scheduler;
grant insert, select, update on api_keys to signalbox_api;
grant select on api_keys to signalbox_scheduler;
grant select on audit_events to signalbox_api;
grant select on audit_events to signalbox_scheduler;
grant insert, select on audit_events to signalbox_writer;
grant select on audit_quarantine to signalbox_api;
grant select on audit_quarantine to signalbox_scheduler;
grant insert, select on audit_quarantine to signalbox_writer;
grant delete, insert, select, update on caps to signalbox_api;
grant select on caps to signalbox_scheduler;
grant select on checkpoint_due to signalbox_api;
grant delete, select, update on checkpoint_due to signalbox_scheduler;
grant insert, select, update on checkpoint_due to signalbox_writer;
grant select on checkpoint_leaves to signalbox_api;
grant insert, select on checkpoint_leaves to signalbox_scheduler;
grant select on checkpoints to signalbox_api;
grant insert, select on checkpoints to signalbox_scheduler;
grant select on contents to signalbox_api;
grant delete, select on contents to signalbox_scheduler;
grant insert, select on contents to signalbox_writer;
grant select on cost_ledger to signalbox_api;
grant select on cost_ledger to signalbox_scheduler;
grant insert, select, update on cost_ledger to signalbox_writer;
grant select on daily_costs to signalbox_api;
grant select on daily_costs to signalbox_scheduler;
grant insert, select, update on daily_costs to signalbox_writer;
grant select on erased_runs to signalbox_api;
grant select on erased_runs to signalbox_scheduler;
grant select on erased_runs to signalbox_writer;
grant execute on function detach_audit_partition(integer,integer) to signalbox_scheduler;
grant execute on function ensure_audit_partitions(timestamp with time zone,integer) to signalbox_scheduler;
grant execute on function erase_run_contents(text,text[]) to signalbox_api;
grant execute on function erase_run_contents(text,text[]) to signalbox_scheduler;
grant insert, select, update on incarnations to signalbox_scheduler;
grant select on incarnations to signalbox_writer;
grant delete, insert, select, update on legal_holds to signalbox_api;
grant select on legal_holds to signalbox_scheduler;
grant delete, insert, select, update on provider_keys to signalbox_api;
grant select on provider_keys to signalbox_scheduler;
grant delete, insert, select, update on replay_forks to signalbox_api;
grant select on replay_forks to signalbox_scheduler;
grant insert, select on replay_marks to signalbox_api;
grant select on replay_marks to signalbox_scheduler;
grant select on replay_records to signalbox_api;
grant select on replay_records to signalbox_scheduler;
grant insert, select, update on replays to signalbox_api;
grant select on replays to signalbox_scheduler;
grant insert, select, update on retention to signalbox_api;
grant select on retention to signalbox_scheduler;
grant select on run_keys to signalbox_api;
grant delete, select on run_keys to signalbox_scheduler;
grant insert, select on run_keys to signalbox_writer;
grant select on runs to signalbox_api;
grant select on runs to signalbox_scheduler;
grant insert, select, update on runs to signalbox_writer;
grant select on schema_migrations to signalbox_scheduler;
grant insert, select, update on tenants to signalbox_api;
grant select on tenants to signalbox_scheduler;
