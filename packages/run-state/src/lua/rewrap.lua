#!lua flags=allow-oom
--- @include base
-- Replaces what is wrapped by what another key wrapped, where it still is what it was read as: a run that was
-- erased, or put back from Postgres meanwhile, stays as it is.
-- KEYS[1] partition root
-- ARGV: key behind the root, field, what was read, what it becomes, ...
-- returns [OK, number replaced] | [UNTRUSTED]
if not is_trusted() then return { 'UNTRUSTED' } end
local replaced = 0
for i = 1, #ARGV, 4 do
  local hash = key(ARGV[i])
  if redis.call('HGET', hash, ARGV[i + 1]) == ARGV[i + 2] then
    redis.call('HSET', hash, ARGV[i + 1], ARGV[i + 3])
    replaced = replaced + 1
  end
end
return { 'OK', int(replaced) }
