--- @include base
--- @include queue
-- What the fleet has to do and with what. Reads only.
-- KEYS[1] partition root
-- returns [high, normal, low, active, parked, delayed, workers, slots, backlog, oldest_ms, capped]
--   capped: queued runs that a concurrency cap keeps back; more workers would not help them
local function size(name) return redis.call('ZCARD', key(name)) end

local slots = redis.call('HVALS', key('slots'))
local offered = 0
for _, n in ipairs(slots) do
  offered = offered + tonumber(n)
end

local oldest = 0
for rank = 0, 2 do
  local since = redis.call('ZRANGE', key('queued', rank), 0, 0, 'WITHSCORES')[2]
  if since and (oldest == 0 or tonumber(since) < oldest) then oldest = tonumber(since) end
end

local capped = 0
for _, user in ipairs(redis.call('SMEMBERS', key('capped_users'))) do
  capped = capped + redis.call('ZCARD', key('held_back', unpack(cjson.decode(user))))
end
local tenants = append(redis.call('ZRANGE', key('turns'), 0, -1), redis.call('SMEMBERS', key('capped_tenants')))
local seen = {}
for _, tenant in ipairs(tenants) do
  if not seen[tenant] then
    seen[tenant] = true
    local room = math.max(0, concurrency_of(tenant).tenant - redis.call('SCARD', key('busy', tenant)))
    capped = capped + math.max(0, redis.call('ZCARD', key('ready', tenant)) - room)
  end
end

return { size('queued:0'), size('queued:1'), size('queued:2'), size('running'), size('parked'), size('timers'),
  #slots, offered, redis.call('XLEN', key('audit')), oldest, capped }
