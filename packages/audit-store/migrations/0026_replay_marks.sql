-- What an Idempotency-Key of a replay is known by under the other keys of the keyring; `replays` has what it is known by
-- under the first. So that while keys are replaced, also an api finds it whose keys begin with another, or that has but
-- the old one.

create table replay_marks (
  tenant_id text not null,
  key_digest text not null,
  fingerprint text not null,
  replay_id text collate "C" not null references replays (id),
  primary key (tenant_id, key_digest)
);

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select, insert on replay_marks to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select on replay_marks to signalbox_scheduler;
  end if;
end
$$;
