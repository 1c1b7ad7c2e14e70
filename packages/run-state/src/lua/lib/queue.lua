-- Admission (design §5): runnable runs wait in per-tenant lists; tenants take turns; BullMQ stays short.

local RANK_SPAN = 1e13 -- more than any epoch millisecond, so priority comes before age

local function enqueue(run, tenant, rank, since)
  redis.call('HSET', key('run', run), 'status', 'queued', 'queued_ms', int(since))
  redis.call('HDEL', key('run', run), 'reason')
  redis.call('ZADD', key('ready', tenant), int(tonumber(rank) * RANK_SPAN + since), run)
  redis.call('ZADD', key('turns'), 'NX', int(redis.call('INCR', key('turn'))), tenant)
  redis.call('ZADD', key('queued', rank), int(since), run)
end

local function leave_queue(run, tenant, rank)
  redis.call('ZREM', key('ready', tenant), run)
  redis.call('ZREM', key('queued', rank), run)
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

-- The owner lets go: no lease, no slot, no place in the queue.
local function release(run, owner)
  redis.call('HDEL', key('run', run), 'owner', 'claim')
  redis.call('SREM', key('lease', owner), run)
  redis.call('ZREM', key('admitted'), run)
  redis.call('ZREM', key('running'), run)
end

-- Up to 1.5x the reported slots are queued or active at once, at least one.
-- Returns [run, wake_seq, ...] for queue.add; what the caller loses, the scheduler adds again (R10).
local function admit(now)
  local slots = 0
  for _, n in ipairs(redis.call('HVALS', key('slots'))) do
    slots = slots + tonumber(n)
  end
  local free = math.max(1, math.floor(slots * 1.5)) - redis.call('ZCARD', key('admitted'))
  local activations = {}
  while free > 0 do
    local tenant = redis.call('ZRANGE', key('turns'), 0, 0)[1]
    if not tenant then break end
    local run = redis.call('ZPOPMIN', key('ready', tenant))[1]
    if redis.call('EXISTS', key('ready', tenant)) == 1 then
      redis.call('ZADD', key('turns'), int(redis.call('INCR', key('turn'))), tenant)
    else
      -- Comes back at the end of the line: a run handed over does not go before another tenant's.
      redis.call('ZREM', key('turns'), tenant)
    end
    if run then
      local r = record(run, { 'status', 'wake_seq' })
      if r.status == 'queued' then
        redis.call('ZADD', key('admitted'), int(now), run)
        activations[#activations + 1] = run
        activations[#activations + 1] = r.wake_seq
        free = free - 1
      end
    end
  end
  return activations
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
