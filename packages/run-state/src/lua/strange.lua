#!lua flags=allow-oom
--- @include base
-- A key that all tenants share and that holds another type than it should, written by a hand or another program, breaks
-- every script that touches it, maybe between two of its writes. It is set aside under another name; what it held before
-- is gone, so all wait until a verification has made it anew (Trust).
-- KEYS[1] partition root
-- returns names of the keys set aside now
local TYPES = {
  turns = 'zset', admitted = 'zset', ['queued:0'] = 'zset', ['queued:1'] = 'zset', ['queued:2'] = 'zset',
  running = 'zset', parked = 'zset', asleep = 'zset', loading = 'zset', timers = 'zset', aborting = 'zset',
  pressured = 'zset', promised = 'zset', leases = 'zset',
  unrestored = 'set', scopes = 'set', capped_users = 'set', capped_tenants = 'set',
  slots = 'hash', trust = 'hash', pressure = 'hash',
  audit = 'stream', ['leader:scheduler'] = 'string', ['leader:audit-writer'] = 'string',
}
local aside = {}
for name, type in pairs(TYPES) do
  local found = redis.call('TYPE', key(name)).ok
  if found ~= type and found ~= 'none' then
    redis.call('RENAME', key(name), key('strange', name, int(now_ms())))
    aside[#aside + 1] = name
  end
end
if #aside > 0 then
  local known = redis.call('HGET', key('trust'), 'strange')
  redis.call('HSET', key('trust'), 'strange', table.concat(append({ known or nil }, aside), ' '))
  redis.call('HDEL', key('trust'), 'server', 'replid', 'verifying')
end
return aside
