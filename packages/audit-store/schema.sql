-- Made by `pnpm --filter @signalbox/audit-store schema` from the migrations. Do not edit.

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

create table audit_events_default partition of audit_events DEFAULT;

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

create table incarnations (
  partition integer not null,
  n integer default 0 not null,
  verified_at timestamp with time zone default now() not null,
  constraint incarnations_pkey PRIMARY KEY (partition)
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

CREATE INDEX audit_events_ts ON ONLY public.audit_events USING brin (ts);

CREATE INDEX audit_quarantine_run ON public.audit_quarantine USING btree (run_id);

CREATE INDEX cost_ledger_day ON public.cost_ledger USING btree (tenant_id, day);

CREATE INDEX cost_ledger_held ON public.cost_ledger USING btree (tenant_id) WHERE (state = 'held'::text);

CREATE INDEX cost_ledger_run ON public.cost_ledger USING btree (run_id);

CREATE INDEX runs_agent ON public.runs USING btree (tenant_id, agent, id DESC) WHERE (agent IS NOT NULL);

CREATE INDEX runs_live ON public.runs USING btree (id) WHERE (status = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text]));

CREATE INDEX runs_session ON public.runs USING btree (tenant_id, session_id, id DESC) WHERE (session_id IS NOT NULL);

CREATE INDEX runs_status ON public.runs USING btree (tenant_id, status, id DESC);

CREATE INDEX runs_tenant ON public.runs USING btree (tenant_id, id DESC);

CREATE INDEX runs_user ON public.runs USING btree (tenant_id, user_id, id DESC) WHERE (user_id IS NOT NULL);

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

CREATE OR REPLACE FUNCTION public.first_run_id_at(instant timestamp without time zone)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
AS $function$
  select 'run_' || lpad(to_hex((extract(epoch from instant) * 1000)::bigint), 12, '0')
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

CREATE TRIGGER audit_events_append_only BEFORE DELETE OR UPDATE ON public.audit_events_default FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();

CREATE TRIGGER audit_events_no_truncate BEFORE TRUNCATE ON public.audit_events_default FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

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
grant select on contents to signalbox_api;
grant delete, select on contents to signalbox_scheduler;
grant insert, select on contents to signalbox_writer;
grant select on cost_ledger to signalbox_api;
grant select on cost_ledger to signalbox_scheduler;
grant insert, select, update on cost_ledger to signalbox_writer;
grant select on daily_costs to signalbox_api;
grant select on daily_costs to signalbox_scheduler;
grant insert, select, update on daily_costs to signalbox_writer;
grant execute on function ensure_audit_partitions(timestamp with time zone,integer) to signalbox_scheduler;
grant insert, select, update on incarnations to signalbox_scheduler;
grant select on incarnations to signalbox_writer;
grant select on replay_records to signalbox_api;
grant select on replay_records to signalbox_scheduler;
grant select on run_keys to signalbox_api;
grant delete, select on run_keys to signalbox_scheduler;
grant insert, select on run_keys to signalbox_writer;
grant select on runs to signalbox_api;
grant select on runs to signalbox_scheduler;
grant insert, select, update on runs to signalbox_writer;
grant select on schema_migrations to signalbox_scheduler;
grant insert, select, update on tenants to signalbox_api;
grant select on tenants to signalbox_scheduler;
