#!lua flags=allow-oom
--- @include base
-- Mirrors a version of an agent and lets go of old ones: Postgres has them all, and who publishes for ever must not fill
-- the memory that everybody's runs need. The latest stays, however large it is. Without looking at the trust marker, as
-- in write.lua. No field names the latest: whoever runs older code would take it for a version, and not write it.
-- KEYS[1] partition root
-- ARGV[1] tenant  [2] name  [3] how many versions stay at most  [4] of how many bytes together
--         [5] version  [6] its sealed spec; without these two it only lets go
-- returns the latest version that is here, nil when none is
local agent = key('agent', ARGV[1], ARGV[2])
if ARGV[5] then redis.call('HSET', agent, ARGV[5], ARGV[6]) end
local versions = {}
for i, version in ipairs(redis.call('HKEYS', agent)) do
  versions[i] = tonumber(version)
end
table.sort(versions, function(a, b) return a > b end)
local most, most_bytes, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), 0
for i, version in ipairs(versions) do
  bytes = bytes + redis.call('HSTRLEN', agent, version)
  if i > 1 and (i > most or bytes > most_bytes) then redis.call('HDEL', agent, version) end
end
return versions[1]
