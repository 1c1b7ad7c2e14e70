--- @include base
--- @include queue
--- @include money
-- Keeps R10: every run without an owner gets its wake-up. Safe to run at any time, by anybody, twice.
-- KEYS[1] partition root
-- ARGV[1] most runs of each kind per call  [2] milliseconds after which an activation counts as lost
-- returns [counts (timers, leases, lost, requeued), activations]
local limit, grace = tonumber(ARGV[1]), tonumber(ARGV[2])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local count = { timers = 0, leases = 0, lost = 0, requeued = 0 }

for _, run in ipairs(redis.call('ZRANGEBYSCORE', key('timers'), '-inf', int(now), 'LIMIT', 0, limit)) do
  local reason = redis.call('HGET', key('run', run), 'reason') or 'timer'
  redis.call('ZREM', key('timers'), run)
  if wake(run, reason, now) then count.timers = count.timers + 1 end
end

local MOST_LOST = 1000 -- of a worker that held more, the next call takes the rest
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', key('leases'), '-inf', int(now), 'LIMIT', 0, 10)) do
  count.leases = count.leases + 1
  for _, run in ipairs(redis.call('SRANDMEMBER', key('lease', lease), MOST_LOST - count.lost)) do
    local r = record(run, { 'owner', 'status', 'tenant', 'user', 'root', 'rank' })
    if r.owner == lease and not is_terminal(r.status) then
      release(run, r, lease)
      expire_holds(run, r, now)
      redis.call('HINCRBY', key('run', run), 'wake_seq', 1)
      enqueue(run, r.tenant, r.rank, now)
      count.lost = count.lost + 1
    end
    redis.call('SREM', key('lease', lease), run)
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
    redis.call('ZADD', key('admitted'), int(now), run)
    append(again, { run, r.wake_seq, '' })
    count.requeued = count.requeued + 1
  elseif r.tenant then
    make_room(run, r)
  else
    redis.call('ZREM', key('admitted'), run)
  end
end

repair_waiters(limit, now)
repair_capped(limit)

local activations = append(admit(now), again)
return { { 'timers', count.timers, 'leases', count.leases, 'lost', count.lost, 'requeued', count.requeued }, activations }
