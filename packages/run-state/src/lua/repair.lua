#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include admission
--- @include money
--- @include waiters
-- Keeps R10: every run without an owner gets its wake-up. Safe to run at any time, by anybody, twice.
-- KEYS[1] partition root
-- ARGV[1] most runs of each kind per call  [2] milliseconds after which an activation counts as lost
-- returns [counts (timers, leases, lost, requeued, relieved), activations, aborted runs whose end is the caller's to write]
local limit, grace = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local count = { timers = 0, leases = 0, lost = 0, requeued = 0, relieved = 0 }

for _, run in ipairs(redis.call('ZRANGEBYSCORE', key('timers'), '-inf', int(now), 'LIMIT', 0, limit)) do
  local reason = record(run, { 'reason' }).reason or 'timer'
  redis.call('ZREM', key('timers'), run)
  if wake(run, reason, now, { at = now }) then count.timers = count.timers + 1 end
end

local MOST_LOST = 1000 -- of a worker that held more, the next call takes the rest
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', int(now), 'LIMIT', 0, 10)) do
  count.leases = count.leases + 1
  for _, run in ipairs(redis.call('SRANDMEMBER', key('lease', lease), MOST_LOST - count.lost)) do
    local r = record(run, { 'owner', 'status', 'tenant', 'user', 'root', 'rank' })
    if r.owner == lease and not is_terminal(r.status) then
      release(run, r, lease)
      expire_holds(run, r, now)
      next_wake_seq(run)
      enqueue(run, r.tenant, r.rank, now)
      count.lost = count.lost + 1
    end
    leave_lease(run, lease)
  end
  if redis.call('EXISTS', key('lease', lease)) == 0 then redis.call('ZREM', key('leases'), lease) end
  redis.call('HDEL', key('slots'), lease)
end

-- An activation that reached no worker: the caller died before queue.add, or BullMQ lost the job.
-- Claimed runs lie at +inf, so that long ones do not stand in front of those that were lost.
local again = {}
for _, run in ipairs(redis.call('ZRANGEBYSCORE', key('admitted'), '-inf', int(now - grace), 'LIMIT', 0, limit)) do
  local r = record(run, { 'status', 'wake_seq', 'tenant', 'user' })
  if r.status == 'queued' then
    redis.call('HSETNX', key('run', run), 'admitted_ms', redis.call('ZSCORE', key('admitted'), run))
    redis.call('ZADD', key('admitted'), int(now), run)
    append(again, { run, wake_seq_of(run, r), 'again' })
    count.requeued = count.requeued + 1
  elseif r.tenant then
    make_room(run, r)
  else
    redis.call('ZREM', key('admitted'), run)
  end
end

-- Who asks a run to stop, or owns it, writes its end. Where that did not happen (its owner was lost, it hibernated) it
-- would wait for a worker with a free slot, and there may be none.
local ABORT_MS, AGAIN_MS = 1000, 60000 -- what the caller cannot write in a minute a worker may have done better
local unended = {}
for _, run in ipairs(redis.call('ZRANGEBYSCORE', key('aborting'), '-inf', int(now - ABORT_MS), 'LIMIT', 0, limit)) do
  local r = record(run, { 'status', 'owner', 'asleep' })
  if not r.status or is_terminal(r.status) then
    redis.call('ZREM', key('aborting'), run)
  elseif r.asleep or lease_is_live(r.owner, now) then
    redis.call('ZADD', key('aborting'), int(now), run)
  else
    redis.call('ZADD', key('aborting'), int(now + AGAIN_MS), run)
    unended[#unended + 1] = run
  end
end

-- Runs that pressure parked go on, the oldest first and a few at a time, however often this is called.
local WOKEN_AT_ONCE, WAKE_EVERY_MS = 25, 250
local woken_at = tonumber(redis.call('HGET', key('pressure'), 'woken_at')) or 0
if math.abs(now - woken_at) >= WAKE_EVERY_MS then
  local fleet = fleet_of(now)
  local room = pressure(now).level == 0 and WOKEN_AT_ONCE
    or math.min(WOKEN_AT_ONCE, fleet.most - redis.call('ZCARD', key('admitted')))
  for _, run in ipairs(room > 0 and redis.call('ZRANGE', key('pressured'), 0, room - 1) or {}) do
    redis.call('ZREM', key('pressured'), run)
    if wake(run, 'capacity', now) then
      count.relieved = count.relieved + 1
      if fleet.only_parked then append(again, admit_run(run, now)) end
    end
  end
  if count.relieved > 0 then redis.call('HSET', key('pressure'), 'woken_at', int(now)) end
end

repair_waiters(limit, now)
repair_capped(limit)

local activations = append(admit(now), again)
return {
  { 'timers', count.timers, 'leases', count.leases, 'lost', count.lost, 'requeued', count.requeued, 'relieved', count.relieved },
  activations,
  unended,
}
