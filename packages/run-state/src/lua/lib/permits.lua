-- Permits: how many runs of a tenant, and of a user, may be at work at once. A run holds one from its admission (or
-- claim) to its release. In `ready` are only runs that may start: a user has no more there than it has free permits
-- for, always its first ones by priority, then age. So a backlog of one user costs admission nothing, and `ready` is
-- what workers could do.
-- <root>:ready_user:<tenant>:<user> ZSET  the user's runs in ready, scored as there
-- <root>:held_back:<tenant>:<user>  ZSET  its runnable runs without a permit, scored as in ready
-- <root>:capped_users               SET   JSON [tenant, user] of users with runs held back
-- <root>:busy:<tenant>              SET   runs of a tenant that hold a permit; cap max_runs
-- <root>:busy_user:<tenant>:<user>  SET   runs of a user that hold a permit; cap user_max_runs
-- <root>:capped_tenants             SET   tenants at their cap with runs ready

local RANK_SPAN = 1e13 -- more than any epoch millisecond, so priority comes before age
local MAX_CALLED_BACK = 10 -- runs that one event takes back into ready, per user

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
