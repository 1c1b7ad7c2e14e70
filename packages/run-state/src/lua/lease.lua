#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include admission
-- The lease of a process carries its runs and holds. Once expired it is never renewed (Leases).
-- KEYS[1] partition root
-- ARGV[1] "open" | "renew" | "close"  [2] lease  [3] milliseconds  [4] slots it offers
-- returns [OK, activation...] | [EXPIRED]
local now = now_ms()
if ARGV[1] == 'close' then
  redis.call('HDEL', key('slots'), ARGV[2])
  -- Runs it still holds are the scheduler's to repair: an expired deadline hands them over.
  if redis.call('EXISTS', key('lease', ARGV[2])) == 1 then
    redis.call('ZADD', key('leases'), int(now), ARGV[2])
  else
    redis.call('ZREM', key('leases'), ARGV[2])
  end
  return { 'OK' }
end
if ARGV[1] == 'renew' and not lease_is_live(ARGV[2], now) then return { 'EXPIRED' } end
redis.call('ZADD', key('leases'), int(now + tonumber(ARGV[3])), ARGV[2])
if tonumber(ARGV[4]) > 0 then redis.call('HSET', key('slots'), ARGV[2], ARGV[4]) else redis.call('HDEL', key('slots'), ARGV[2]) end
-- Keeping a lease moves no money, so it goes on while the data is being verified; admission waits.
if not is_trusted() then return { 'OK' } end
return append({ 'OK' }, admit(now))
