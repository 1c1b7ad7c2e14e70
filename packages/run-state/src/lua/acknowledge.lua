#!lua flags=allow-oom
--- @include base
-- Commits whose transaction committed leave the audit stream (R8). A script, since a full Redis takes no MULTI,
-- and this is what makes room again.
-- KEYS[1] partition root
-- ARGV[1] consumer group  [2] batches that Postgres has stored  [3..] stream ids
-- returns number of entries that left
local MOST_AT_ONCE = 1000 -- as many as unpack() can surely take
local left = 0
-- Of batches stored side by side the later may be acknowledged first.
if tonumber(ARGV[2]) > (tonumber(redis.call('HGET', key('trust'), 'batches')) or 0) then
  redis.call('HSET', key('trust'), 'batches', ARGV[2])
end
for first = 3, #ARGV, MOST_AT_ONCE do
  local last = math.min(#ARGV, first + MOST_AT_ONCE - 1)
  redis.call('XACK', key('audit'), ARGV[1], unpack(ARGV, first, last))
  left = left + redis.call('XDEL', key('audit'), unpack(ARGV, first, last))
end
return left
