-- Admission: runnable runs wait in per-tenant lists; tenants take turns; BullMQ stays short.
-- A concurrency cap is a number of permits: a run holds one from its admission (or claim) to its release. In `ready` are
-- only runs that may start: a user has no more there than it has free permits for, always its first ones by
-- priority, then age. So a backlog of one user costs admission nothing, and `ready` is what workers could do.
-- <root>:ready_user:<tenant>:<user> ZSET  the user's runs in ready, scored as there
-- <root>:held_back:<tenant>:<user>  ZSET  its runnable runs without a permit, scored as in ready
-- <root>:capped_users               SET   JSON [tenant, user] of users with runs held back
-- <root>:busy:<tenant>              SET   runs of a tenant that hold a permit; cap max_runs
-- <root>:busy_user:<tenant>:<user>  SET   runs of a user that hold a permit; cap user_max_runs
-- <root>:capped_tenants             SET   tenants at their cap with runs ready
-- <root>:promised                   ZSET  runs that were woken for room that is kept for them, by time; waiters.lua

local RANK_SPAN = 1e13 -- more than any epoch millisecond, so priority comes before age
local MAX_CALLED_BACK = 10 -- runs that one event takes back into ready, per user
local MAX_HELD_BACK = 500 -- runs without a permit, and tenants, that one admission puts aside
local MAX_HELD_BACK_PER_TURN = 100

-- Whether this script made a run ready or freed a permit. If not, there is nobody to admit who was not before.
local stirred = false

-- The tenant with the fewest runs at work is next; among equals, who waits longest.
local TURN_SPAN = 2 ^ 32

local function turn_of(tenant)
  local turn = redis.pcall('INCR', key('turn'))
  if type(turn) == 'table' then
    redis.call('SET', key('turn'), 0)
    turn = 0
  end
  return int(redis.call('SCARD', key('busy', tenant)) * TURN_SPAN + turn)
end

local function take_turn(tenant)
  if redis.call('EXISTS', key('ready', tenant)) == 1 then
    redis.call('ZADD', key('turns'), 'NX', turn_of(tenant), tenant)
  end
end

-- Runs that were claimed without an admission count too, so the first in line may not be it any more.
local function next_tenant()
  while true do
    local tenant, turn = unpack(redis.call('ZRANGE', key('turns'), 0, 0, 'WITHSCORES'))
    if not tenant or tonumber(turn) >= redis.call('SCARD', key('busy', tenant)) * TURN_SPAN then return tenant end
    redis.call('ZADD', key('turns'), turn_of(tenant), tenant)
  end
end

local function concurrency_of(tenant)
  local set = redis.call('HMGET', key('caps', tenant), 'max_runs', 'user_max_runs')
  -- Garbage keeps back this tenant's runs, and must not stop a script that has to do with all tenants.
  local limit = function(value) return (not value or value == 'inf') and math.huge or tonumber(value) or 0 end
  return { tenant = limit(set[1]), user = limit(set[2]) }
end

local function make_ready(run, r, score)
  stirred = true
  redis.call('ZADD', key('ready', r.tenant), score, run)
  if has_user(r) then redis.call('ZADD', key('ready_user', r.tenant, r.user), score, run) end
  take_turn(r.tenant)
end

local function leave_ready(run, r)
  redis.call('ZREM', key('ready', r.tenant), run)
  if has_user(r) then redis.call('ZREM', key('ready_user', r.tenant, r.user), run) end
end

local function hold_back(run, r, score)
  leave_ready(run, r)
  redis.call('ZADD', key('held_back', r.tenant, r.user), score, run)
  redis.call('SADD', key('capped_users'), cjson.encode({ r.tenant, r.user }))
end

local function leave_held_back(run, r)
  local held = key('held_back', r.tenant, r.user)
  if redis.call('ZREM', held, run) == 1 and redis.call('EXISTS', held) == 0 then
    redis.call('SREM', key('capped_users'), cjson.encode({ r.tenant, r.user }))
  end
end

-- Runs of a user that were held back and have a permit now, or go before one that has, become ready.
-- Returns how many.
local function call_back(r, most)
  local held, ready = key('held_back', r.tenant, r.user), key('ready_user', r.tenant, r.user)
  if redis.call('EXISTS', held) == 0 then return 0 end
  local room = concurrency_of(r.tenant).user - redis.call('ZCARD', ready)
    - redis.call('SCARD', key('busy_user', r.tenant, r.user))
  for moved = 0, most - 1 do
    local first = redis.call('ZRANGE', held, 0, 0, 'WITHSCORES')
    if not first[1] then return moved end
    if room <= 0 then
      local last = redis.call('ZRANGE', ready, -1, -1, 'WITHSCORES')
      if not last[1] or tonumber(last[2]) <= tonumber(first[2]) then return moved end
      hold_back(last[1], r, last[2])
      room = room + 1
    end
    leave_held_back(first[1], r)
    make_ready(first[1], r, first[2])
    room = room - 1
  end
  return most
end

local function enqueue(run, tenant, rank, since)
  local r = { tenant = tenant, user = redis.call('HGET', key('run', run), 'user') }
  redis.call('HSET', key('run', run), 'status', 'queued', 'queued_ms', int(since))
  redis.call('HDEL', key('run', run), 'reason', 'admitted_ms')
  redis.call('ZADD', key('queued', rank), int(since), run)
  local score = int(tonumber(rank) * RANK_SPAN + since)
  if not has_user(r) then return make_ready(run, r, score) end
  local capped = concurrency_of(tenant).user < math.huge
  if not capped and redis.call('EXISTS', key('held_back', tenant, r.user)) == 0 then
    return make_ready(run, r, score)
  end
  hold_back(run, r, score)
  call_back(r, MAX_CALLED_BACK)
end

local function leave_queue(run, r)
  leave_ready(run, r)
  redis.call('ZREM', key('queued', r.rank), run)
  if has_user(r) then leave_held_back(run, r) end
end

local function leave_waiting(run)
  for _, index in ipairs({ 'parked', 'asleep', 'timers', 'pressured' }) do
    redis.call('ZREM', key(index), run)
  end
  local r = record(run, { 'waits_on', 'waits_day', 'tenant', 'user', 'root' })
  if r.waits_on then
    if r.waits_day then redis.call('ZREM', waiters_key(scope_key(r.waits_on, r, r.waits_day)), run) end
    redis.call('HDEL', key('run', run), 'waits_on', 'need', 'waits_day')
  end
end

-- Room that was kept for a run that was woken for it; see waiters.lua.
local function forget_promise(run)
  local r = record(run, { 'promised_by', 'promise' })
  if r.promised_by then
    redis.call('HDEL', key('run', run), 'promised_by', 'promise')
    redis.call('ZREM', key('promised'), run)
    redis.call('HINCRBY', r.promised_by, 'promised', '-' .. (r.promise or '0'))
  end
end

local function make_busy(run, r, score)
  redis.call('ZADD', key('admitted'), score, run)
  redis.call('SADD', key('busy', r.tenant), run)
  if has_user(r) then redis.call('SADD', key('busy_user', r.tenant, r.user), run) end
end

-- Whether a run holds a permit, or there is one for it.
local function has_permit(run, r)
  if redis.call('SISMEMBER', key('busy', r.tenant), run) == 1 then return true end
  local most = concurrency_of(r.tenant)
  if redis.call('SCARD', key('busy', r.tenant)) >= most.tenant then return false end
  return not has_user(r) or redis.call('SCARD', key('busy_user', r.tenant, r.user)) < most.user
end

-- Gives a run's permit to others; giving it back twice changes nothing.
local function make_room(run, r)
  stirred = true
  redis.call('ZREM', key('admitted'), run)
  redis.call('SREM', key('busy', r.tenant), run)
  if redis.call('SREM', key('capped_tenants'), r.tenant) == 1 then
    take_turn(r.tenant)
  elseif redis.call('ZSCORE', key('turns'), r.tenant) then
    redis.call('ZADD', key('turns'), 'XX', turn_of(r.tenant), r.tenant)
  end
  if has_user(r) then
    redis.call('SREM', key('busy_user', r.tenant, r.user), run)
    call_back(r, MAX_CALLED_BACK)
  end
end

local function leave_lease(run, owner)
  redis.call('SREM', key('lease', owner), run)
  redis.call('SREM', key('lease', owner, 'aborts'), run)
end

-- The owner lets go: no lease, no slot, no permit.
local function release(run, r, owner)
  forget_promise(run)
  redis.call('HDEL', key('run', run), 'owner', 'claim')
  leave_lease(run, owner)
  redis.call('ZREM', key('running'), run)
  make_room(run, r)
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
      append(activations, { run, r.wake_seq, end_of_queue(tenant, fleet.slots) })
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
  return { run, r.wake_seq, 'front' }
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

-- Tells the owner of a run, or makes it runnable, because something happened to it. A queued run keeps its
-- wake_seq: its activation may be with a worker already, and must not become stale.
local function notify(run, r, now)
  if r.status ~= 'queued' then redis.call('HINCRBY', key('run', run), 'wake_seq', 1) end
  if r.status == 'waiting' then
    leave_waiting(run)
    if redis.call('HEXISTS', key('run', run), 'asleep') == 1 then
      -- It is runnable once the scheduler has loaded it; see awaken.lua.
      redis.call('ZADD', key('loading'), 'NX', int(now), run)
    else
      enqueue(run, r.tenant, r.rank, now)
    end
  end
end

-- Whether a record says where its run stands in line. One that does not is left to whoever reads the scheduler's log: no
-- script of many runs may break at it.
local function is_sound(r)
  return string.find(r.rank or '', '^[012]$') and string.find(r.wake_seq or '', '^%d+$')
end

-- Makes a parked run runnable; a running one only learns that its next park must not happen.
-- The note becomes run.woken in the owner's next commit (R4); `more` are further fields of it.
local function wake(run, reason, now, more)
  local r = record(run, { 'status', 'tenant', 'rank', 'wake_seq' })
  if not r.status or is_terminal(r.status) or not is_sound(r) then return false end
  local note = more or {}
  note.type, note.reason = 'woken', reason
  redis.call('RPUSH', key('run', run, 'inbox'), cjson.encode(note))
  notify(run, r, now)
  return true
end
