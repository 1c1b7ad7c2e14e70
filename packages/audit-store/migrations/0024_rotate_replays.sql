-- Key rotation reaches what open replay jobs try, too.

do $$
begin
  if exists (select from pg_roles where rolname = 'signalbox_scheduler') then
    grant update (sealed_changes) on replays to signalbox_scheduler;
  end if;
end
$$;
