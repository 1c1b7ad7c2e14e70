#!lua flags=allow-oom
--- @include base
-- Begins and ends a verification. The marker is written last, and only if nothing came between: the token is
-- still there (no flush, nobody else began) and the server is the one it began on (no restart, no failover).
-- KEYS[1] partition root
-- ARGV[1] "begin" | "end"  [2] token  and for "end": [3] run id, [4] replication id of the server  [5] incarnation
--         [6] batches that Postgres has stored
-- returns begin: [what the server says of itself, incarnation, batches as they were last known here, names of keys that
--         were set aside, see strange.lua]
--         | end: "OK" or "OVERTAKEN"
local trust, token = key('trust'), ARGV[2]
if ARGV[1] == 'begin' then
  local known = redis.call('HMGET', trust, 'incarnation', 'batches', 'strange')
  redis.call('HDEL', trust, 'server', 'replid')
  redis.call('HSET', trust, 'verifying', token)
  return { redis.call('INFO', 'server', 'replication'), known[1] or '-1', known[2] or '0', known[3] or '' }
end
if not is_verifying(token) or not is_server(ARGV[3], ARGV[4]) then return 'OVERTAKEN' end
redis.call('HSET', trust, 'server', ARGV[3], 'replid', ARGV[4], 'incarnation', ARGV[5], 'batches', ARGV[6])
redis.call('HDEL', trust, 'verifying', 'strange')
return 'OK'
