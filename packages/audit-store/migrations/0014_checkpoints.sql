-- Checkpoints: where the chains of a tenant ended, signed by the scheduler. The same lines go to a place outside.

create table checkpoints (
  tenant_id text collate "C" not null,
  -- Counts from 1 without gaps.
  n int not null check (n > 0),
  ts timestamptz not null,
  -- Hash of the checkpoint before.
  prev text not null,
  -- Merkle root over the leaves.
  root text not null,
  chains int not null check (chains > 0),
  key_id text not null,
  public_key text not null,
  hash text not null,
  signature text not null,
  primary key (tenant_id, n)
);

-- The heads a checkpoint is over: only those that moved since the one before.
create table checkpoint_leaves (
  tenant_id text collate "C" not null,
  run_id text collate "C" not null,
  seq int not null,
  hash text not null,
  n int not null,
  primary key (tenant_id, run_id, seq)
);
create index checkpoint_leaves_n on checkpoint_leaves (tenant_id, n);

create trigger checkpoints_append_only before update or delete on checkpoints
  for each row execute function refuse_audit_change();
create trigger checkpoints_no_truncate before truncate on checkpoints
  for each statement execute function refuse_audit_change();
create trigger checkpoint_leaves_append_only before update or delete on checkpoint_leaves
  for each row execute function refuse_audit_change();
create trigger checkpoint_leaves_no_truncate before truncate on checkpoint_leaves
  for each statement execute function refuse_audit_change();

-- Chains that moved since their last checkpoint; the audit-writer marks them, the scheduler takes them away.
create table checkpoint_due (
  tenant_id text collate "C" not null,
  run_id text collate "C" not null,
  -- Up to where it is stored without a gap.
  seq int not null,
  -- Of the first change that waits.
  since timestamptz not null default now(),
  primary key (tenant_id, run_id)
);
create index checkpoint_due_since on checkpoint_due (since);

insert into checkpoint_due (tenant_id, run_id, seq) select tenant_id, id, last_seq from runs where last_seq > 0;
insert into checkpoint_due (tenant_id, run_id, seq) select tenant_id, 'admin_' || tenant_id, seq from admin_chains where seq > 0;

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_writer') then
    grant select, insert, update on checkpoint_due to signalbox_writer;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select on checkpoints, checkpoint_leaves to signalbox_api;
  end if;
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant select, insert on checkpoints, checkpoint_leaves to signalbox_scheduler;
    grant select, update, delete on checkpoint_due to signalbox_scheduler;
  end if;
end
$$;
