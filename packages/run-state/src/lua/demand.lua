--- @include base
--- @include pressure
--- @include permits
-- What the fleet has to do and with what. Reads only.
-- KEYS[1] partition root
-- returns [high, normal, low, active, parked, delayed, workers, slots, backlog, oldest_ms, kept_back, level]
--   oldest_ms: since when the oldest queued run waits that no concurrency cap keeps back; 0: there is none
--   kept_back: queued runs that a concurrency cap or pressure keeps back; more workers would not help them
local MOST_ADMITTED, MOST_TENANTS = 100, 1000 -- looked at for the oldest; beyond, it is the oldest of these
local function size(name) return redis.call('ZCARD', key(name)) end

local slots = redis.call('HVALS', key('slots'))
local offered = 0
for _, n in ipairs(slots) do
  offered = offered + (tonumber(n) or 0)
end

local oldest = math.huge

-- Most runs given to the queue are of few tenants.
local known = {}
local function caps_of(tenant)
  known[tenant] = known[tenant] or concurrency_of(tenant)
  return known[tenant]
end

-- Given to the queue and not claimed. A cap may have kept a run back until then: if its tenant has one, it waits
-- only since then.
local given = redis.call('ZRANGEBYSCORE', key('admitted'), '-inf', '(+inf', 'WITHSCORES', 'LIMIT', 0, MOST_ADMITTED)
for i = 1, #given, 2 do
  local r = record(given[i], { 'tenant', 'user', 'queued_ms', 'admitted_ms' })
  local caps = r.tenant and caps_of(r.tenant)
  local capped = not caps or caps.tenant < math.huge or (has_user(r) and caps.user < math.huge)
  oldest = math.min(oldest, tonumber(not capped and r.queued_ms or r.admitted_ms or given[i + 1]) or math.huge)
end

-- No run of a priority is older than its first here, which a cap may keep back.
local first = {}
for rank = 0, 2 do
  first[rank] = tonumber(redis.call('ZRANGE', key('queued', rank), 0, 0, 'WITHSCORES')[2] or math.huge)
end

-- In the list of a tenant with room.
local function look_at_ready(tenant)
  for rank = 0, 2 do
    if first[rank] < oldest then
      local from, to = int(rank * RANK_SPAN), '(' .. int((rank + 1) * RANK_SPAN)
      local score = redis.call('ZRANGEBYSCORE', key('ready', tenant), from, to, 'WITHSCORES', 'LIMIT', 0, 1)[2]
      if score then oldest = math.min(oldest, tonumber(score) - rank * RANK_SPAN) end
    end
  end
end

local high, normal, low = size('queued:0'), size('queued:1'), size('queued:2')
local queued = high + normal + low

-- Users are without number, so none of their lists is looked at: what is queued, and neither given to the queue nor in
-- a ready list, is what their caps keep back.
local held_back = queued - redis.call('ZCOUNT', key('admitted'), '-inf', '(+inf')
local above = 0 -- in ready lists, but over the caps of their tenants
local tenants = append(redis.call('ZRANGE', key('turns'), 0, -1), redis.call('SMEMBERS', key('capped_tenants')))
local seen, looked = {}, 0
for _, tenant in ipairs(tenants) do
  if not seen[tenant] then
    seen[tenant] = true
    local room, ready = caps_of(tenant).tenant, redis.call('ZCARD', key('ready', tenant))
    held_back = held_back - ready
    if room < math.huge then
      room = math.max(0, room - redis.call('SCARD', key('busy', tenant)))
      above = above + math.max(0, ready - room)
    end
    if room > 0 and looked < MOST_TENANTS then
      looked = looked + 1
      look_at_ready(tenant)
    end
  end
end

local parked = size('parked') + size('asleep') + size('loading')
local limit = tonumber(redis.call('HGET', key('pressure'), 'backlog_limit')) or math.huge
local found = pressure_of(used_share(), limit)
local most = allowed(found, math.max(1, math.floor(offered * 1.5)))
local pressed = found.level > 0 and queued - math.max(0, most - size('running')) or 0
local kept_back = math.max(math.max(0, held_back) + above, pressed)
return { high, normal, low, size('running'), parked, size('timers'),
  #slots, offered, found.backlog, oldest < math.huge and oldest or 0, kept_back, found.level }
