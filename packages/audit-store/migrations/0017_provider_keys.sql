-- Tenants' own provider keys, each sealed for its tenant and provider. Redis has a mirror that workers read; after a
-- loss the scheduler writes it again from here.

create table provider_keys (
  tenant_id text not null references tenants (id),
  provider text not null,
  -- HMAC of the key, as events name it.
  key_id text not null,
  -- `<id of the wrapping key>.<wrapped data key>.<sealed key>`
  sealed_key text not null,
  set_at timestamptz not null default now(),
  -- Id of the API key.
  set_by text not null,
  primary key (tenant_id, provider)
);

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select, insert, update, delete on provider_keys to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on provider_keys to signalbox_scheduler;
    -- For key rotation.
    grant update (sealed_key) on provider_keys to signalbox_scheduler;
  end if;
end
$$;
