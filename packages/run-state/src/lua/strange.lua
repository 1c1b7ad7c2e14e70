#!lua flags=allow-oom
--- @include base
-- A key that holds another type than it should, written by a hand or another program, breaks every script that touches
-- it, maybe between two of its writes, and admission or repair touch those of all tenants. It is set aside under another
-- name; what it held before is gone, so all wait until a verification has made it anew (Trust).
-- KEYS[1] partition root
-- ARGV names (keys behind the root) to look at beside those that all tenants share; unknown ones are none of ours
-- returns names of the keys set aside now
local SHARED = {
  turns = 'zset', admitted = 'zset', ['queued:0'] = 'zset', ['queued:1'] = 'zset', ['queued:2'] = 'zset',
  running = 'zset', parked = 'zset', asleep = 'zset', loading = 'zset', timers = 'zset', aborting = 'zset',
  pressured = 'zset', promised = 'zset', leases = 'zset',
  unrestored = 'set', scopes = 'set', capped_users = 'set', capped_tenants = 'set',
  slots = 'hash', trust = 'hash', pressure = 'hash',
  audit = 'stream', ['leader:scheduler'] = 'string', ['leader:audit-writer'] = 'string',
}
-- By what stands before the first colon: of one tenant, user, lease or scope.
local FAMILIES = {
  ready = 'zset', ready_user = 'zset', held_back = 'zset', waiters = 'zset',
  busy = 'set', busy_user = 'set', lease = 'set', caps = 'hash', spend = 'hash',
}

local aside = {}
local function look_at(name, type)
  local found = redis.call('TYPE', key(name)).ok
  if found ~= type and found ~= 'none' then
    redis.call('RENAME', key(name), key('strange', name, int(now_ms())))
    aside[#aside + 1] = name
  end
end

for name, type in pairs(SHARED) do
  look_at(name, type)
end
for _, name in ipairs(ARGV) do
  local type = FAMILIES[string.match(name, '^([^:]+):')]
  if type then look_at(name, type)
  -- Others write into it. What else a run has is touched for that run alone, and no verification would make it anew.
  elseif string.find(name, '^run:[^:]+:inbox$') then look_at(name, 'list') end
end
if #aside > 0 then
  local known = redis.call('HGET', key('trust'), 'strange')
  redis.call('HSET', key('trust'), 'strange', table.concat(append({ known or nil }, aside), ' '))
  redis.call('HDEL', key('trust'), 'server', 'replid', 'verifying')
end
return aside
