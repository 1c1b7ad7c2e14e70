#!lua flags=allow-oom
--- @include base
-- One process at a time leads. Leading is economy, not safety: what the leader does is safe to do twice.
-- KEYS[1] partition root
-- ARGV[1] "hold" | "release"  [2] token of the process  [3] milliseconds it leads without renewing
-- returns 1: the caller leads (hold) or led until now (release) | 0
local leader = redis.call('GET', key('leader'))
if ARGV[1] == 'hold' then
  if leader and leader ~= ARGV[2] then return 0 end
  redis.call('SET', key('leader'), ARGV[2], 'PX', ARGV[3])
  return 1
end
if leader ~= ARGV[2] then return 0 end
redis.call('DEL', key('leader'))
return 1
