-- A run's place: in line, at work, parked. Who moves it from one to another does it here. Included after permits.
-- <root>:promised                   ZSET  runs that were woken for room that is kept for them, by time; waiters.lua

local RANKS = { '0', '1', '2' }

-- Where it may stand in line; of what is garbage, in all of them.
local function ranks_of(rank)
  return string.find(rank or '', '^[012]$') and { rank } or RANKS
end

local function enqueue(run, tenant, rank, since)
  -- In the middle, as if nothing had been said.
  if #ranks_of(rank) > 1 then
    rank = '1'
    redis.call('HSET', key('run', run), 'rank', rank)
  end
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
  for _, rank in ipairs(ranks_of(r.rank)) do
    redis.call('ZREM', key('queued', rank), run)
  end
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

local MOST_PROMISED = 2 ^ 53 -- more than any amount

-- Room that was kept for a run that was woken for it; see waiters.lua.
local function forget_promise(run)
  local r = record(run, { 'promised_by', 'promise' })
  if r.promised_by then
    redis.call('HDEL', key('run', run), 'promised_by', 'promise')
    redis.call('ZREM', key('promised'), run)
    -- Of what is garbage nobody knows how much was kept: it would be kept for ever, and no script may break at it.
    local left = redis.pcall('HINCRBY', r.promised_by, 'promised', int(-(whole(r.promise) or MOST_PROMISED)))
    if type(left) == 'table' or left < 0 then redis.pcall('HSET', r.promised_by, 'promised', 0) end
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

-- Tells the owner of a run, or makes it runnable, because something happened to it. A queued run keeps its
-- wake_seq: its activation may be with a worker already, and must not become stale.
local function notify(run, r, now)
  if r.status ~= 'queued' then next_wake_seq(run) end
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

-- Makes a parked run runnable; a running one only learns that its next park must not happen.
-- The note becomes run.woken in the owner's next commit (R4); `more` are further fields of it.
local function wake(run, reason, now, more)
  local r = record(run, { 'status', 'tenant', 'rank' })
  if not r.status or is_terminal(r.status) then return false end
  local note = more or {}
  note.type, note.reason = 'woken', reason
  redis.call('RPUSH', key('run', run, 'inbox'), cjson.encode(note))
  notify(run, r, now)
  return true
end
