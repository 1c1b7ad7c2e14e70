-- Holds and caps (R1, R2). All scopes of a hold are checked and changed in the script that writes its event.
-- Amounts are integer nano-USD below 9e15, exact in a Lua double.
-- <scope>          HASH  spent, held, promised (room kept for runs that were woken for it and did not ask yet)
-- <scope>:waiters  ZSET  parked runs that wait for room here, by the time they first had none

local SPEND_TTL_SECONDS = 400 * 24 * 3600

-- The scopes a hold of this run counts in, with their caps and where they stand. `day` is the tenant's day
-- (yyyy-mm-dd) the hold is for; its month follows from it.
local function scopes_of(run, r, day)
  local root, caps = key('run', r.root), key('caps', r.tenant)
  local month = string.sub(day, 1, 7)
  local set = redis.call('HMGET', caps, 'tenant_daily', 'tenant_monthly', 'user_daily', 'user_monthly',
    'user:' .. (r.user or ''), 'user_month:' .. (r.user or ''))
  local scopes = { { name = 'run', key = root, cap = redis.call('HGET', root, 'cap') } }
  if r.user and r.user ~= '' then
    scopes[2] = { name = 'user_day', key = key('spend', 'user', r.tenant, day, r.user), cap = set[5] or set[3] }
    scopes[3] = { name = 'user_month', key = key('spend', 'user_month', r.tenant, month, r.user), cap = set[6] or set[4] }
  end
  scopes[#scopes + 1] = { name = 'tenant_day', key = key('spend', 'tenant', r.tenant, day), cap = set[1] }
  scopes[#scopes + 1] = { name = 'tenant_month', key = key('spend', 'tenant_month', r.tenant, month), cap = set[2] }
  for _, scope in ipairs(scopes) do
    local at = redis.call('HMGET', scope.key, 'spent', 'held')
    scope.spent, scope.held = tonumber(at[1] or 0), tonumber(at[2] or 0)
  end
  return scopes
end

local function fits(scope, amount)
  return scope.cap == 'inf' or scope.spent + scope.held + amount <= tonumber(scope.cap)
end

local function add(scope, spent, held)
  scope.spent = redis.call('HINCRBY', scope.key, 'spent', int(spent))
  scope.held = redis.call('HINCRBY', scope.key, 'held', int(held))
  if scope.name ~= 'run' then redis.call('EXPIRE', scope.key, SPEND_TTL_SECONDS) end
end

-- nil when there is room everywhere, else { code, [name, cap, spent, held]... }; changes nothing (R1).
local function denial(scopes, amount)
  local full, rows = false, {}
  for _, scope in ipairs(scopes) do
    if not scope.cap then return { 'CAP_MISSING', scope.name } end
    full = full or not fits(scope, amount)
    if scope.cap ~= 'inf' then
      rows[#rows + 1] = scope.name
      rows[#rows + 1] = int(tonumber(scope.cap))
      rows[#rows + 1] = int(scope.spent)
      rows[#rows + 1] = int(scope.held)
    end
  end
  if full then return { 'DENIED', unpack(rows) } end
  return nil
end

local function take_hold(run, scopes, hold)
  for _, scope in ipairs(scopes) do
    add(scope, 0, hold.amount)
  end
  forget_promise(run)
  redis.call('HDEL', key('run', run), 'waits_since')
  redis.call('HSET', key('run', run, 'holds'), hold.id, 'held ' .. int(hold.amount) .. ' ' .. hold.day)
end

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
  redis.call('HINCRBY', scope.key, 'promised', int(need))
  redis.call('HSET', key('run', run), 'promised_by', scope.key, 'promise', int(need))
end

-- Wakes, oldest first, only waiters that now fit, so that they are no herd; and those that wait in vain,
-- to ask again and get another answer: nothing is held that could still be settled, the cap is gone, or
-- (after a settlement) so much is spent that no settlement will make room for them.
local function wake_waiters(scope, now, settled)
  local waiters = redis.call('ZRANGE', scope.key .. ':waiters', 0, MAX_WOKEN - 1)
  if #waiters == 0 then return end
  local promised = promised_in(scope, now)
  for _, run in ipairs(waiters) do
    local need = tonumber(redis.call('HGET', key('run', run), 'need') or 0)
    local room = scope.cap and fits(scope, promised + need)
    if not room and scope.cap and scope.held + promised > 0 then
      if not settled or scope.spent + need <= tonumber(scope.cap) then break end
    end
    if not wake(run, 'capacity', now) then
      redis.call('ZREM', scope.key .. ':waiters', run)
    elseif room then
      promised = promised + need
      promise(run, scope, need, now)
    end
  end
end

-- Parks a run at a scope, in the place it had if it was woken and came too late. <root>:scopes names all
-- scopes that have or had waiters, for repair.
local function wait_for_room(run, r, wait, now)
  redis.call('HSETNX', key('run', run), 'waits_since', int(now))
  local since = redis.call('HGET', key('run', run), 'waits_since')
  for _, scope in ipairs(scopes_of(run, r, wait.day)) do
    if scope.name == wait.scope then
      redis.call('ZADD', scope.key .. ':waiters', since, run)
      redis.call('SADD', key('scopes'), scope.key)
      redis.call('HSET', key('run', run), 'waits_on', scope.key, 'need', int(wait.need), 'waits_day', wait.day)
      wake_waiters(scope, now, false)
    end
  end
end

-- A waiter also waits in vain when a cap was raised, or when those woken before it never took their hold.
local function repair_waiters(limit, now)
  for _, scope_key in ipairs(redis.call('SRANDMEMBER', key('scopes'), limit)) do
    local run = redis.call('ZRANGE', scope_key .. ':waiters', 0, 0)[1]
    local r = run and record(run, { 'tenant', 'user', 'root', 'waits_day' })
    if not run then
      redis.call('SREM', key('scopes'), scope_key)
    elseif not r.waits_day then
      redis.call('ZREM', scope_key .. ':waiters', run)
    else
      for _, scope in ipairs(scopes_of(run, r, r.waits_day)) do
        if scope.key == scope_key then wake_waiters(scope, now, false) end
      end
    end
  end
end

-- A hold ends once: settled, or charged because its worker was lost and corrected if the truth comes later.
-- A repeated settlement changes nothing.
local function settle(run, r, settlement, now)
  local holds = key('run', run, 'holds')
  local stored = redis.call('HGET', holds, settlement.hold)
  if not stored then return end
  local state, amount, day, charged = string.match(stored, '^(%a+) (%d+) (%S+) ?(%d*)$')
  if state == 'settled' or (state == 'expired' and settlement.expired) then return end
  local was_held = state == 'held' and tonumber(amount) or 0
  local was_spent = state == 'expired' and tonumber(charged) or 0
  for _, scope in ipairs(scopes_of(run, r, day)) do
    add(scope, settlement.observed - was_spent, -was_held)
    wake_waiters(scope, now, true)
  end
  local to = settlement.expired and 'expired' or 'settled'
  redis.call('HSET', holds, settlement.hold, to .. ' ' .. amount .. ' ' .. day .. ' ' .. int(settlement.observed))
end

-- A lost worker's open holds count as spent from now on (R1); the next owner writes what became of the calls.
local function expire_holds(run, r, now)
  local stored = redis.call('HGETALL', key('run', run, 'holds'))
  for i = 1, #stored, 2 do
    local amount = string.match(stored[i + 1], '^held (%d+)')
    if amount then settle(run, r, { hold = stored[i], observed = tonumber(amount), expired = true }, now) end
  end
end
