-- Runs that wait for room in a scope (Money), and room that is kept for those of them that were woken for it.
-- Included after queue and money.
-- <scope>  HASH  promised: room kept for runs that were woken for it and did not ask yet

local MAX_WOKEN = 8
local PROMISE_MS = 10000 -- a woken run asks by then, or its room is for others
local MAX_OVERDUE = 100

-- What of a scope's room is kept for runs that were woken for it. Newcomers may take it all the same.
local function promised_in(scope, now)
  local overdue = int(now - PROMISE_MS)
  for _, run in ipairs(redis.call('ZRANGEBYSCORE', key('promised'), '-inf', overdue, 'LIMIT', 0, MAX_OVERDUE)) do
    forget_promise(run)
    redis.call('ZREM', key('promised'), run)
  end
  return tonumber(redis.call('HGET', scope.key, 'promised') or 0)
end

local function promise(run, scope, need, now)
  redis.call('ZADD', key('promised'), int(now), run)
  add(scope, 'promised', need)
  redis.call('HSET', key('run', run), 'promised_by', scope.key, 'promise', int(need))
end

-- Wakes, oldest first, only waiters that now fit, so that they are no herd; and those that wait in vain,
-- to ask again and get another answer: nothing is held that could still be settled, the cap is gone, or
-- (after a settlement) so much is spent that no settlement will make room for them.
local function wake_waiters(scope, now, settled)
  local waiters = redis.call('ZRANGE', waiters_key(scope.key), 0, MAX_WOKEN - 1)
  if #waiters == 0 then return end
  local promised = promised_in(scope, now)
  for _, run in ipairs(waiters) do
    local need = tonumber(record(run, { 'need' }).need) or 0
    local room = scope.cap and fits(scope, promised + need)
    if not room and scope.cap and scope.held + promised > 0 then
      if not settled or scope.spent + need <= tonumber(scope.cap) then break end
    end
    if not wake(run, 'capacity', now) then
      redis.call('ZREM', waiters_key(scope.key), run)
    elseif room then
      promised = promised + need
      promise(run, scope, need, now)
    end
  end
end

-- After a settlement.
local function wake_all_waiters(scopes, now)
  for _, scope in ipairs(scopes) do
    wake_waiters(scope, now, true)
  end
end

-- Parks a run at a scope, in the place it had if it was woken and came too late. <root>:scopes names all
-- scopes that have or had waiters, for repair.
local function wait_for_room(run, r, wait, now)
  redis.call('HSETNX', key('run', run), 'waits_since', int(now))
  local since = redis.call('HGET', key('run', run), 'waits_since')
  for _, scope in ipairs(scopes_of(r, wait.day)) do
    if scope.name == wait.scope then
      redis.call('ZADD', waiters_key(scope.key), since, run)
      redis.call('SADD', key('scopes'), scope.key)
      redis.call('HSET', key('run', run), 'waits_on', scope.name, 'need', int(wait.need), 'waits_day', wait.day)
      wake_waiters(scope, now, false)
    end
  end
end

-- A waiter also waits in vain when a cap was raised, or when those woken before it never took their hold.
local function repair_waiters(limit, now)
  for _, scope_key in ipairs(redis.call('SRANDMEMBER', key('scopes'), limit)) do
    local run = redis.call('ZRANGE', waiters_key(scope_key), 0, 0)[1]
    local r = run and record(run, { 'tenant', 'user', 'root', 'waits_day' })
    if not run then
      redis.call('SREM', key('scopes'), scope_key)
    elseif not r.waits_day then
      redis.call('ZREM', waiters_key(scope_key), run)
    else
      for _, scope in ipairs(scopes_of(r, r.waits_day)) do
        if scope.key == scope_key then wake_waiters(scope, now, false) end
      end
    end
  end
end

-- A lost worker's open holds count as spent from now on (Money); the next owner writes what became of the calls.
local function expire_holds(run, r, now)
  local stored = redis.call('HGETALL', key('run', run, 'holds'))
  for i = 1, #stored, 2 do
    local amount = string.match(stored[i + 1], '^held (%d+)')
    if amount then
      local scopes = settle(run, r, { hold = stored[i], observed = tonumber(amount), expired = true })
      write_money()
      wake_all_waiters(scopes, now)
    end
  end
end
