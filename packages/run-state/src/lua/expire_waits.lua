#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include admission
-- Wakes runs that have waited too long in one park, with a note that makes their next owner end them. A timer is no
-- such wait: it ends by itself, and one that is due is repair's to wake.
-- KEYS[1] partition root
-- ARGV[1] index: "parked" or "asleep"  [2] milliseconds a run may wait  [3] runs to pass over, oldest first
-- ARGV[4] most runs to look at
-- returns [OK, looked at, woken, activation...] | [UNTRUSTED]
local index, longest, skip, limit = key(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local old = redis.call('ZRANGEBYSCORE', index, '-inf', int(now - longest), 'WITHSCORES', 'LIMIT', skip, limit)
local woken = 0
for i = 1, #old, 2 do
  local run, since = old[i], math.max(0, tonumber(old[i + 1]))
  local reason = record(run, { 'reason' }).reason
  local timed = reason == 'timer' and redis.call('ZSCORE', key('timers'), run)
  if not timed and wake(run, reason, now, { expired_since = since }) then woken = woken + 1 end
end
return append({ 'OK', int(#old / 2), int(woken) }, admit(now))
