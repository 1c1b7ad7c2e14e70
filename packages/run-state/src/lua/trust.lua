#!lua flags=allow-oom
--- @include base
-- Begins and ends a verification. The marker is written last, and only if nothing came between: the token is
-- still there (no flush, nobody else began) and the server is the one it began on (no restart, no failover).
-- KEYS[1] partition root
-- ARGV[1] "begin" | "end"  [2] token  [3] server  [4] incarnation (both for "end")
-- returns begin: run id of this server | end: "OK" or "OVERTAKEN"
local trust, token = key('trust'), ARGV[2]
if ARGV[1] == 'begin' then
  redis.call('DEL', trust)
  redis.call('HSET', trust, 'verifying', token)
  return server_id()
end
if not is_verifying(token) or server_id() ~= ARGV[3] then return 'OVERTAKEN' end
redis.call('HSET', trust, 'server', ARGV[3], 'incarnation', ARGV[4])
redis.call('HDEL', trust, 'verifying')
return 'OK'
