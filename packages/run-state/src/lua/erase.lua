#!lua flags=allow-oom
--- @include base
-- Destroys what was said in runs that have ended: their keys and contents. Without looking at the trust marker:
-- Postgres remembers what is erased, and a verification erases it again (Trust).
-- KEYS[1] partition root
-- ARGV: run, since when (RFC 3339), ...
-- returns number of runs that were here
local here = 0
for i = 1, #ARGV, 2 do
  local run = ARGV[i]
  if is_terminal(record(run, { 'status' }).status) then
    redis.call('HDEL', key('run', run), 'key')
    redis.call('HSET', key('run', run), 'erased', ARGV[i + 1])
    redis.call('UNLINK', key('run', run, 'contents'))
    here = here + 1
  end
end
return here
