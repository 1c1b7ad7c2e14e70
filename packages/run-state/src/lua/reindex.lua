#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include admission
--- @include money
--- @include waiters
-- Runs that no index leads to, since a key was lost, are put where their records say they belong (R10): repair finds
-- what is due, silent or unclaimed by the indexes alone.
-- KEYS[1] partition root
-- ARGV[1] token of the verification that asks, "": none, and what may start is admitted  [2..] runs
-- returns [OK, number of runs put back, activation...] | [UNTRUSTED]
local now = now_ms()
local token = ARGV[1]
if token == '' and not is_trusted() or token ~= '' and not is_verifying(token) then return { 'UNTRUSTED' } end

local function is_in(index, run)
  return redis.call('ZSCORE', index, run) ~= false
end

local function is_member(set, member)
  return redis.call('SISMEMBER', set, member) == 1
end

local function is_busy(run, r)
  return is_member(key('busy', r.tenant), run)
    and (not has_user(r) or is_member(key('busy_user', r.tenant, r.user), run))
end

local function has_turn(tenant)
  return is_in(key('turns'), tenant) or is_member(key('capped_tenants'), tenant)
end

local function stands_in_line(run, r)
  if not is_in(key('queued', r.rank or ''), run) then return false end
  if is_in(key('admitted'), run) then return is_busy(run, r) end
  if is_in(key('ready', r.tenant), run) then
    return has_turn(r.tenant) and (not has_user(r) or is_in(key('ready_user', r.tenant, r.user), run))
  end
  return has_user(r) and is_in(key('held_back', r.tenant, r.user), run)
    and is_member(key('capped_users'), cjson.encode({ r.tenant, r.user }))
end

local function index_queued(run, r)
  if stands_in_line(run, r) then return false end
  leave_queue(run, r)
  make_room(run, r)
  enqueue(run, r.tenant, r.rank, tonumber(r.queued_ms) or now)
  return true
end

local function index_running(run, r)
  local held = r.owner and is_member(key('lease', r.owner), run)
  -- A lease that is over is repair's, if it can see what it held.
  if lease_is_live(r.owner, now) or (held and is_in(key('leases'), r.owner)) then
    local known = held and is_in(key('running'), run) and is_in(key('admitted'), run) and is_busy(run, r)
      and (not r.abort or is_member(key('lease', r.owner, 'aborts'), run))
    if known then return false end
    redis.call('ZADD', key('running'), 'NX', int(now), run)
    redis.call('SADD', key('lease', r.owner), run)
    if r.abort then redis.call('SADD', key('lease', r.owner, 'aborts'), run) end
    make_busy(run, r, '+inf')
    return true
  end
  release(run, r, r.owner or '')
  expire_holds(run, r, now)
  next_wake_seq(run)
  enqueue(run, r.tenant, r.rank, now)
  return true
end

local function index_waiting(run, r)
  if r.asleep then
    if is_in(key('asleep'), run) or is_in(key('loading'), run) then return false end
    redis.call('ZADD', key('loading'), int(now), run)
    return true
  end
  local scope = r.waits_on and r.waits_day and scope_key(r.waits_on, r, r.waits_day)
  local told = is_in(key('timers'), run) or is_in(key('pressured'), run)
    or (scope and is_in(waiters_key(scope), run) and is_member(key('scopes'), scope))
    or (r.reason ~= 'timer' and r.reason ~= 'capacity')
  if told and is_in(key('parked'), run) then return false end
  redis.call('ZADD', key('parked'), 'NX', int(now), run)
  -- It asks again for what it waits for.
  if not told then wake(run, r.reason or 'timer', now) end
  return true
end

local index_by_status = { queued = index_queued, running = index_running, waiting = index_waiting }
local put_back = 0
for i = 2, #ARGV do
  local run = ARGV[i]
  local r = record(run, { 'status', 'tenant', 'user', 'root', 'rank', 'owner', 'reason', 'asleep', 'queued_ms',
    'waits_on', 'waits_day', 'abort', 'wake_seq' })
  local index = r.tenant and index_by_status[r.status]
  if index then wake_seq_of(run, r) end
  if index and index(run, r) then put_back = put_back + 1 end
end
return append({ 'OK', int(put_back) }, put_back > 0 and token == '' and admit(now) or {})
