-- A verification asks whether what no checkpoint holds yet is at least marked to be.
do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_api') then
    grant select on checkpoint_due to signalbox_api;
  end if;
end
$$;
