#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include admission
--- @include money
--- @include waiters
-- Runs that the store holds under a lease, but its process does not work on, get another owner (R10). That
-- happens when Redis came back without what the process wrote last: it handed the run over, or ended it, or was
-- refused because the journals differ.
-- KEYS[1] partition root
-- ARGV[1] lease  [2..] runs
-- returns [OK, activation...] | [UNTRUSTED]
local lease, now = ARGV[1], now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
for i = 2, #ARGV do
  local run = ARGV[i]
  local r = record(run, { 'owner', 'status', 'tenant', 'user', 'root', 'rank' })
  if r.owner ~= lease then
    leave_lease(run, lease)
  elseif not is_terminal(r.status) then
    release(run, r, lease)
    expire_holds(run, r, now)
    next_wake_seq(run)
    enqueue(run, r.tenant, r.rank, now)
  end
end
return append({ 'OK' }, admit(now))
