-- Holds and caps (R1, R2). All scopes of a hold are checked and changed in the script that writes its event.
-- Amounts are integer nano-USD below 9e15, exact in a Lua double.
-- <scope>          HASH  spent, held, promised; see waiters.lua

local MOST = 9e18 -- an int64 holds it, and a double exactly
local MOST_TOLD = 2 ^ 53 - 1 -- no event holds more

-- The scopes a hold of this run counts in. `day` is the tenant's day (yyyy-mm-dd) the hold is for.
local function scope_keys(r, day)
  local names = has_user(r) and { 'run', 'user_day', 'user_month', 'tenant_day', 'tenant_month' }
    or { 'run', 'tenant_day', 'tenant_month' }
  local scopes = {}
  for i, name in ipairs(names) do
    scopes[i] = { name = name, key = scope_key(name, r, day) }
  end
  return scopes
end

-- The same with their caps and where they stand.
local function scopes_of(run, r, day)
  local set = redis.call('HMGET', key('caps', r.tenant), 'tenant_daily', 'tenant_monthly', 'user_daily', 'user_monthly',
    'user:' .. (r.user or ''), 'user_month:' .. (r.user or ''))
  local caps = { user_day = set[5] or set[3], user_month = set[6] or set[4], tenant_day = set[1], tenant_month = set[2] }
  local scopes = scope_keys(r, day)
  for _, scope in ipairs(scopes) do
    -- Only a run's record has the cap beside the counters.
    local at = redis.call('HMGET', scope.key, 'spent', 'held', 'cap')
    scope.spent, scope.held = tonumber(at[1] or 0), tonumber(at[2] or 0)
    local cap = at[3]
    if scope.name ~= 'run' then cap = caps[scope.name] end
    -- Garbage is no cap, which denies.
    scope.cap = (cap == 'inf' or tonumber(cap)) and cap
  end
  return scopes
end

local function fits(scope, amount)
  return scope.cap == 'inf' or scope.spent + scope.held + amount <= tonumber(scope.cap)
end

-- Returns the sum. Redis adds, since what has no cap may outgrow a double. A counter ends at MOST and at zero, whatever
-- comes: an error here would stop the script between two of its writes (R2), and what is below zero would be room that
-- nobody gave (R1).
local function add(scope, field, amount)
  local sum = redis.pcall('HINCRBY', scope.key, field, int(amount))
  local bound = (type(sum) == 'table' or sum > MOST) and MOST or (sum < 0 and 0)
  if bound then
    redis.call('HSET', scope.key, field, int(bound))
    sum = bound
  end
  -- Which it is when new.
  if (bound or sum == amount) and scope.name ~= 'run' then expire_spend(scope.key) end
  return sum
end

local function told(amount)
  return int(math.min(amount, MOST_TOLD))
end

-- nil when there is room everywhere, else { code, [name, cap, spent, held]... }; changes nothing (R1).
local function denial(scopes, amount)
  local full = false
  for _, scope in ipairs(scopes) do
    if not scope.cap then return { 'CAP_MISSING', scope.name } end
    full = full or not fits(scope, amount)
  end
  if not full then return nil end
  local denied = { 'DENIED' }
  for _, scope in ipairs(scopes) do
    if scope.cap ~= 'inf' then
      append(denied, { scope.name, int(tonumber(scope.cap)), told(scope.spent), told(scope.held) })
    end
  end
  return denied
end

-- r: also waits_since. Room that was promised to the run is for the caller to give back.
local function take_hold(run, r, scopes, hold)
  for _, scope in ipairs(scopes) do
    add(scope, 'held', hold.amount)
  end
  if r.waits_since then redis.call('HDEL', key('run', run), 'waits_since') end
  redis.call('HSET', key('run', run, 'holds'), hold.id, 'held ' .. int(hold.amount) .. ' ' .. hold.day)
end

-- A hold ends once: settled, or charged because its worker was lost and corrected if the truth comes later.
-- A repeated settlement changes nothing. Returns the scopes it changed when somebody waits for room, else none:
-- whom to wake is for wake_all_waiters.
local function settle(run, r, settlement)
  local holds = key('run', run, 'holds')
  local stored = redis.call('HGET', holds, settlement.hold)
  if not stored then return {} end
  local state, amount, day, charged = string.match(stored, '^(%a+) (%d+) (%S+) ?(%d*)$')
  if state == 'settled' or (state == 'expired' and settlement.expired) then return {} end
  local was_held = state == 'held' and tonumber(amount) or 0
  local was_spent = state == 'expired' and tonumber(charged) or 0
  local somebody_waits = redis.call('EXISTS', key('scopes')) == 1
  local scopes = somebody_waits and scopes_of(run, r, day) or scope_keys(r, day)
  for _, scope in ipairs(scopes) do
    scope.spent = add(scope, 'spent', settlement.observed - was_spent)
    scope.held = add(scope, 'held', -was_held)
    if scope.spent == 0 and scope.held == 0 and scope.name ~= 'run' then forget_unused(scope.key) end
  end
  local to = settlement.expired and 'expired' or 'settled'
  redis.call('HSET', holds, settlement.hold, to .. ' ' .. amount .. ' ' .. day .. ' ' .. int(settlement.observed))
  return somebody_waits and scopes or {}
end
