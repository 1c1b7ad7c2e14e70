-- Admission: tenants take turns with their ready runs (permits.lua), and only as many as slots will soon take go to
-- BullMQ, so that it stays short. Included after pressure and permits.

local MAX_HELD_BACK = 500 -- runs without a permit, and tenants, that one admission puts aside
local MAX_HELD_BACK_PER_TURN = 100

-- Runs that were claimed without an admission count too, so the first in line may not be it any more.
local function next_tenant()
  while true do
    local tenant, turn = unpack(redis.call('ZRANGE', key('turns'), 0, 0, 'WITHSCORES'))
    if not tenant or tonumber(turn) >= redis.call('SCARD', key('busy', tenant)) * TURN_SPAN then return tenant end
    redis.call('ZADD', key('turns'), turn_of(tenant), tenant)
  end
end

-- 'front' for a run of a tenant below its fair share of slots while BullMQ holds runs that wait for one: those
-- are of tenants above theirs, and prefetch must not put them before it.
local function end_of_queue(tenant, slots)
  if redis.call('ZCARD', key('admitted')) <= slots then return '' end
  local tenants = redis.call('ZCARD', key('turns')) + 1
  return redis.call('SCARD', key('busy', tenant)) * tenants <= slots and 'front' or ''
end

-- A tenant's turn: admits its first ready run. Returns how many had to be put aside on the way because a cap was
-- lowered below what its user has; `most` bounds them.
local function admit_first(tenant, caps, fleet, activations, most)
  -- To the end of the line: a run handed over does not go before another tenant's.
  redis.call('ZREM', key('turns'), tenant)
  local admitted, aside = false, 0
  while not admitted and aside < most do
    local run, score = unpack(redis.call('ZPOPMIN', key('ready', tenant)))
    if not run then break end
    local r = record(run, { 'status', 'wake_seq', 'tenant', 'user' })
    if has_user(r) then redis.call('ZREM', key('ready_user', tenant, r.user), run) end
    if r.status ~= 'queued' then
      aside = aside + 1
    elseif has_user(r) and redis.call('SCARD', key('busy_user', tenant, r.user)) >= caps.user then
      hold_back(run, r, score)
      aside = aside + 1
    else
      make_busy(run, r, int(fleet.now))
      append(activations, { run, wake_seq_of(run, r), end_of_queue(tenant, fleet.slots) })
      admitted = true
    end
  end
  take_turn(tenant)
  return aside
end

-- Beside its slots a worker keeps a tenth as many for tenants with few runs at work (queue.ts), so that one tenant's
-- backlog, however long, never makes another wait for one of its runs to end. Small workers keep none.
local SPARE_SHARE = 0.1

local function fleet_of(now)
  local slots, spare = 0, 0
  for _, n in ipairs(redis.call('HVALS', key('slots'))) do
    local offered = tonumber(n) or 0
    slots = slots + offered
    spare = spare + math.floor(offered * SPARE_SHARE)
  end
  local found = pressure(now)
  local most = allowed(found, math.max(1, math.floor(slots * 1.5)))
  local fleet = { now = now, slots = slots, most = most, spare = spare }
  -- Prefetch would fill what is kept free.
  fleet.common = spare > 0 and math.min(slots, most) or most
  -- What pressure parked fills memory, so it goes on before anything begins; see repair.lua.
  fleet.only_parked = found.level > 0 and redis.call('EXISTS', key('pressured')) == 1
  return fleet
end

-- How many more runs may be admitted when this tenant is next.
local function free_for(tenant, fleet)
  local admitted = redis.call('ZCARD', key('admitted'))
  if redis.call('SCARD', key('busy', tenant)) < fleet.spare then return fleet.most - admitted end
  return fleet.common - admitted
end

-- Up to 1.5x the reported slots are queued or active at once, at least one; less when few tenants have them all,
-- and under pressure (R9).
-- Returns [run, wake_seq, 'front' or '', ...] for queue.add; what the caller loses, the scheduler adds again (R10).
local function admit(now)
  local fleet = fleet_of(now)
  if fleet.only_parked then return {} end
  local activations, caps, aside = {}, {}, 0
  while aside < MAX_HELD_BACK do
    local tenant = next_tenant()
    -- It has the fewest runs at work: if there is no room for it, there is none for anybody.
    if not tenant or free_for(tenant, fleet) <= 0 then break end
    caps[tenant] = caps[tenant] or concurrency_of(tenant)
    if redis.call('SCARD', key('busy', tenant)) >= caps[tenant].tenant then
      redis.call('ZREM', key('turns'), tenant)
      redis.call('SADD', key('capped_tenants'), tenant)
      aside = aside + 1
    else
      local most = math.min(MAX_HELD_BACK_PER_TURN, MAX_HELD_BACK - aside)
      aside = aside + admit_first(tenant, caps[tenant], fleet, activations, most)
    end
  end
  return activations
end

-- Admits this run before all others, if caps leave it a permit. Returns as admit does.
local function admit_run(run, now)
  local r = record(run, { 'status', 'wake_seq', 'tenant', 'user' })
  if r.status ~= 'queued' or not has_permit(run, r) then return {} end
  leave_ready(run, r)
  if has_user(r) then leave_held_back(run, r) end
  make_busy(run, r, int(now))
  return { run, wake_seq_of(run, r), 'front' }
end

-- A cap was raised or removed: nobody released anything, and still there is room.
local function repair_capped(limit)
  for _, tenant in ipairs(redis.call('SRANDMEMBER', key('capped_tenants'), limit)) do
    local idle = redis.call('EXISTS', key('ready', tenant)) == 0
    if idle or redis.call('SCARD', key('busy', tenant)) < concurrency_of(tenant).tenant then
      redis.call('SREM', key('capped_tenants'), tenant)
      take_turn(tenant)
    end
  end
  local left = limit
  for _, capped in ipairs(redis.call('SRANDMEMBER', key('capped_users'), limit)) do
    local readable, pair = pcall(cjson.decode, capped)
    local is_user = readable and type(pair) == 'table' and type(pair[1]) == 'string' and type(pair[2]) == 'string'
    -- Their index may have been lost, and its runs be ready since.
    if is_user and redis.call('EXISTS', key('held_back', pair[1], pair[2])) == 1 then
      left = left - call_back({ tenant = pair[1], user = pair[2] }, left)
    else
      redis.call('SREM', key('capped_users'), capped)
    end
    if left <= 0 then break end
  end
end
