--- @include base
--- @include pressure
--- @include queue
-- What the fleet has to do and with what. Reads only.
-- KEYS[1] partition root
-- returns [high, normal, low, active, parked, delayed, workers, slots, backlog, oldest_ms, kept_back, level]
--   kept_back: queued runs that a concurrency cap or pressure keeps back; more workers would not help them
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

local parked = size('parked') + size('asleep') + size('loading')
local high, normal, low = size('queued:0'), size('queued:1'), size('queued:2')
local limit = tonumber(redis.call('HGET', key('pressure'), 'backlog_limit') or math.huge)
local found = pressure_of(used_share(), limit)
local most = allowed(found, math.max(1, math.floor(offered * 1.5)))
local pressed = found.level > 0 and high + normal + low - math.max(0, most - size('running')) or 0
local kept_back = math.max(capped, pressed)
return { high, normal, low, size('running'), parked, size('timers'),
  #slots, offered, found.backlog, oldest, kept_back, found.level }
