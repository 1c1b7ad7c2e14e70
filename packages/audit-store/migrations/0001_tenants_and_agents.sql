-- Who may ask, and what an agent is. Roll-forward only: change by adding a file.

do $$
begin
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception 'the database has encoding %; create it with encoding UTF8', current_setting('server_encoding');
  end if;
end
$$;

create table tenants (
  id text primary key,
  -- Redis partition that holds everything of the tenant; assigned once.
  partition int not null default 0 check (partition >= 0),
  -- IANA name; a day of this zone is the day of the tenant's caps.
  time_zone text not null default 'UTC',
  created_at timestamptz not null default now()
);

create table api_keys (
  id text primary key,
  tenant_id text not null references tenants (id),
  name text not null default '',
  -- SHA-256 of the key in hex; the key itself is nowhere.
  hash text not null unique check (hash ~ '^[0-9a-f]{64}$'),
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz
);

create index api_keys_tenant on api_keys (tenant_id, id);

create table agents (
  tenant_id text not null references tenants (id),
  name text collate "C" not null,
  latest_version int not null default 0,
  created_at timestamptz not null default now(),
  primary key (tenant_id, name)
);

-- Immutable: same content, same version.
create table agent_versions (
  tenant_id text not null,
  name text collate "C" not null,
  version int not null check (version > 0),
  digest text not null,
  sealed_spec text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, name, version),
  unique (tenant_id, name, digest),
  foreign key (tenant_id, name) references agents (tenant_id, name)
);
