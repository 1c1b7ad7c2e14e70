-- Admission (design §5): runnable runs wait in per-tenant lists; tenants take turns; BullMQ stays short.
-- <root>:busy:<tenant>             SET   admitted runs of a tenant; cap max_runs
-- <root>:busy_user:<tenant>:<user> SET   admitted runs of a user; cap user_max_runs
-- <root>:held_back:<tenant>:<user> ZSET  runnable runs whose user is at its cap, scored as in ready
-- <root>:capped_tenants            SET   tenants at their cap with runs ready
-- <root>:capped_users              SET   JSON [tenant, user] of users with runs held back

local RANK_SPAN = 1e13 -- more than any epoch millisecond, so priority comes before age

local function enqueue(run, tenant, rank, since)
  redis.call('HSET', key('run', run), 'status', 'queued', 'queued_ms', int(since))
  redis.call('HDEL', key('run', run), 'reason')
  redis.call('ZADD', key('ready', tenant), int(tonumber(rank) * RANK_SPAN + since), run)
  redis.call('ZADD', key('turns'), 'NX', int(redis.call('INCR', key('turn'))), tenant)
  redis.call('ZADD', key('queued', rank), int(since), run)
end

local function leave_queue(run, r)
  redis.call('ZREM', key('ready', r.tenant), run)
  redis.call('ZREM', key('queued', r.rank), run)
  if r.user and r.user ~= '' then redis.call('ZREM', key('held_back', r.tenant, r.user), run) end
end

local function leave_waiting(run)
  redis.call('ZREM', key('parked'), run)
  redis.call('ZREM', key('timers'), run)
  local scope = redis.call('HGET', key('run', run), 'waits_on')
  if scope then
    redis.call('ZREM', scope .. ':waiters', run)
    redis.call('HDEL', key('run', run), 'waits_on', 'need', 'waits_day')
  end
end

local function concurrency_of(tenant)
  local set = redis.call('HMGET', key('caps', tenant), 'max_runs', 'user_max_runs')
  local limit = function(value) return (not value or value == 'inf') and math.huge or tonumber(value) end
  return { tenant = limit(set[1]), user = limit(set[2]) }
end

local function take_turn(tenant)
  if redis.call('EXISTS', key('ready', tenant)) == 1 then
    redis.call('ZADD', key('turns'), 'NX', int(redis.call('INCR', key('turn'))), tenant)
  end
end

local function hold_back(run, r, score)
  redis.call('ZADD', key('held_back', r.tenant, r.user), score, run)
  redis.call('SADD', key('capped_users'), cjson.encode({ r.tenant, r.user }))
end

-- The oldest run of a user that was held back may be admitted now.
local function call_back(tenant, user)
  local held = key('held_back', tenant, user)
  local first = redis.call('ZPOPMIN', held)
  if first[1] then
    redis.call('ZADD', key('ready', tenant), first[2], first[1])
    take_turn(tenant)
  end
  if redis.call('EXISTS', held) == 0 then redis.call('SREM', key('capped_users'), cjson.encode({ tenant, user })) end
end

local function make_busy(run, r, score)
  redis.call('ZADD', key('admitted'), score, run)
  redis.call('SADD', key('busy', r.tenant), run)
  if r.user and r.user ~= '' then redis.call('SADD', key('busy_user', r.tenant, r.user), run) end
end

-- Gives an admitted run's place to others; giving it back twice changes nothing.
local function make_room(run, r)
  redis.call('ZREM', key('admitted'), run)
  redis.call('SREM', key('busy', r.tenant), run)
  if redis.call('SREM', key('capped_tenants'), r.tenant) == 1 then take_turn(r.tenant) end
  if r.user and r.user ~= '' then
    redis.call('SREM', key('busy_user', r.tenant, r.user), run)
    call_back(r.tenant, r.user)
  end
end

-- The owner lets go: no lease, no slot, no place in the queue.
local function release(run, r, owner)
  redis.call('HDEL', key('run', run), 'owner', 'claim')
  redis.call('SREM', key('lease', owner), run)
  redis.call('ZREM', key('running'), run)
  make_room(run, r)
end

-- Admits the first ready run of a tenant, or finds that it or its user is at a cap.
local function admit_first(tenant, caps, now, activations)
  local first = redis.call('ZPOPMIN', key('ready', tenant))
  -- To the end of the line: a run handed over does not go before another tenant's.
  redis.call('ZREM', key('turns'), tenant)
  take_turn(tenant)
  local run = first[1]
  if not run then return 0 end
  local r = record(run, { 'status', 'wake_seq', 'tenant', 'user' })
  if r.status ~= 'queued' then return 0 end
  if r.user and r.user ~= '' and redis.call('SCARD', key('busy_user', tenant, r.user)) >= caps.user then
    hold_back(run, r, first[2])
    return 0
  end
  make_busy(run, r, int(now))
  activations[#activations + 1] = run
  activations[#activations + 1] = r.wake_seq
  return 1
end

local MAX_HELD_BACK = 500

-- Up to 1.5x the reported slots are queued or active at once, at least one.
-- Returns [run, wake_seq, ...] for queue.add; what the caller loses, the scheduler adds again (R10).
local function admit(now)
  local slots = 0
  for _, n in ipairs(redis.call('HVALS', key('slots'))) do
    slots = slots + tonumber(n)
  end
  local free = math.max(1, math.floor(slots * 1.5)) - redis.call('ZCARD', key('admitted'))
  local activations, caps = {}, {}
  -- Runs held back take no place, so their number is bounded as well: the next call goes on.
  for _ = 1, free + MAX_HELD_BACK do
    if free <= 0 then break end
    local tenant = redis.call('ZRANGE', key('turns'), 0, 0)[1]
    if not tenant then break end
    caps[tenant] = caps[tenant] or concurrency_of(tenant)
    if redis.call('SCARD', key('busy', tenant)) >= caps[tenant].tenant then
      redis.call('ZREM', key('turns'), tenant)
      redis.call('SADD', key('capped_tenants'), tenant)
    else
      free = free - admit_first(tenant, caps[tenant], now, activations)
    end
  end
  return activations
end

-- A cap was raised or removed: nobody released anything, and still there is room.
local function repair_capped(limit)
  for _, tenant in ipairs(redis.call('SRANDMEMBER', key('capped_tenants'), limit)) do
    if redis.call('SCARD', key('busy', tenant)) < concurrency_of(tenant).tenant then
      redis.call('SREM', key('capped_tenants'), tenant)
      take_turn(tenant)
    end
  end
  for _, capped in ipairs(redis.call('SRANDMEMBER', key('capped_users'), limit)) do
    local tenant, user = unpack(cjson.decode(capped))
    local room = concurrency_of(tenant).user - redis.call('SCARD', key('busy_user', tenant, user))
    for _ = 1, math.min(room, limit) do
      call_back(tenant, user)
    end
  end
end

-- Tells the owner of a run, or makes it runnable, because something happened to it. A queued run keeps its
-- wake_seq: its activation may be with a worker already, and must not become stale.
local function notify(run, r, now)
  if r.status ~= 'queued' then redis.call('HINCRBY', key('run', run), 'wake_seq', 1) end
  if r.status == 'waiting' then
    leave_waiting(run)
    enqueue(run, r.tenant, r.rank, now)
  end
end

-- Makes a parked run runnable; a running one only learns that its next park must not happen.
-- The note becomes run.woken in the owner's next commit (R4).
local function wake(run, reason, now)
  local r = record(run, { 'status', 'tenant', 'rank' })
  if not r.status or is_terminal(r.status) then return false end
  redis.call('RPUSH', key('run', run, 'inbox'), cjson.encode({ type = 'woken', reason = reason }))
  notify(run, r, now)
  return true
end
