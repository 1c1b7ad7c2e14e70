#!lua flags=allow-oom
--- @include base
-- One process of a role at a time leads. Leading is economy, not safety: what a leader does is safe to do twice.
-- KEYS[1] partition root
-- ARGV[1] "hold" | "release"  [2] role  [3] token of the process  [4] milliseconds it leads without renewing
-- returns 1: the caller leads (hold) or led until now (release) | 0
local lead = key('leader', ARGV[2])
local leader = redis.call('GET', lead)
if ARGV[1] == 'hold' then
  if leader and leader ~= ARGV[3] then return 0 end
  redis.call('SET', lead, ARGV[3], 'PX', ARGV[4])
  return 1
end
if leader ~= ARGV[3] then return 0 end
redis.call('DEL', lead)
return 1
