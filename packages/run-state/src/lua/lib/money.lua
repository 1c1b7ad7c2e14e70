-- Holds and caps (R1, R2). All scopes of a hold are checked and changed in the script that writes its event.
-- Amounts are integer nano-USD below 9e15, exact in a Lua double.
-- <scope>          HASH  spent, held, promised; see waiters.lua
-- A commit mostly ends a hold and takes one in the same scopes, so they are read once and written once. Who settles or
-- takes holds calls write_money before anything that could break the script: nothing of them is written until then.

local MOST = 9e18 -- an int64 holds it, and a double exactly
local MOST_TOLD = 2 ^ 53 - 1 -- no event holds more

-- The scopes a hold of this run counts in. `day` is the tenant's day (yyyy-mm-dd) the hold is for.
local function scope_keys(r, day)
  local names = has_user(r) and { 'run', 'user_day', 'user_month', 'tenant_day', 'tenant_month' }
    or { 'run', 'tenant_day', 'tenant_month' }
  local scopes = {}
  for i, name in ipairs(names) do
    -- With every field it will have: Lua makes a table that grows anew.
    scopes[i] = { name = name, key = scope_key(name, r, day), spent = 0, held = 0, cap = false, is_new = false,
      changed = false }
  end
  return scopes
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

local function write_scope(scope)
  scope.changed = false
  redis.call('HSET', scope.key, 'spent', int(scope.spent), 'held', int(scope.held))
  if scope.name == 'run' then return end
  if scope.is_new then expire_spend(scope.key) end
  scope.is_new = scope.spent == 0 and scope.held == 0
  if scope.is_new then forget_unused(scope.key) end
end

-- Of the run whose money was looked at last: its scopes, and its holds as they are to be written, [id, hold]...
local at_hand = { scopes = {}, holds = {} }

local function write_money()
  for _, scope in ipairs(at_hand.scopes) do
    if scope.changed then write_scope(scope) end
  end
  if #at_hand.holds > 0 then redis.call('HSET', at_hand.holds_key, unpack(at_hand.holds)) end
  at_hand.holds = {}
end

-- What is no amount is all that can be, which denies.
local function amount_of(stored)
  local amount = tonumber(stored or 0)
  return amount and amount >= 0 and amount or MOST
end

-- Where the scopes of a hold stand.
local function standings(r, day)
  if at_hand.r == r and at_hand.day == day then return at_hand.scopes end
  write_money()
  local scopes = scope_keys(r, day)
  for _, scope in ipairs(scopes) do
    -- Only a run's record has the cap beside the counters.
    local at = redis.call('HMGET', scope.key, 'spent', 'held', 'cap')
    scope.spent, scope.held, scope.cap = amount_of(at[1]), amount_of(at[2]), at[3]
    scope.is_new = not at[1] and not at[2]
  end
  at_hand.r, at_hand.day, at_hand.scopes, at_hand.capped = r, day, scopes, false
  return scopes
end

-- The same with their caps.
local function scopes_of(r, day)
  local scopes = standings(r, day)
  if at_hand.capped then return scopes end
  local set = redis.call('HMGET', key('caps', r.tenant), 'tenant_daily', 'tenant_monthly', 'user_daily', 'user_monthly',
    'user:' .. (r.user or ''), 'user_month:' .. (r.user or ''))
  local caps = { user_day = set[5] or set[3], user_month = set[6] or set[4], tenant_day = set[1], tenant_month = set[2] }
  for _, scope in ipairs(scopes) do
    local cap = scope.cap
    if scope.name ~= 'run' then cap = caps[scope.name] end
    -- Garbage is no cap, which denies.
    scope.cap = (cap == 'inf' or tonumber(cap)) and cap
  end
  at_hand.capped = true
  return scopes
end

-- Where a double is not exact, Redis adds, at once.
local function change(scope, spent, held)
  local spent_then, held_then = scope.spent + spent, scope.held + held
  if math.max(scope.spent, spent_then, scope.held, held_then) > MOST_TOLD then
    if scope.changed then write_scope(scope) end
    scope.spent, scope.held = add(scope, 'spent', spent), add(scope, 'held', held)
  else
    scope.spent, scope.held, scope.changed = math.max(0, spent_then), math.max(0, held_then), true
  end
end

local function fits(scope, amount)
  return scope.cap == 'inf' or scope.spent + scope.held + amount <= tonumber(scope.cap)
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

local function hold_of(run, id)
  local holds = at_hand.holds
  for i = #holds - 1, 1, -2 do
    if holds[i] == id then return holds[i + 1] end
  end
  return redis.call('HGET', key('run', run, 'holds'), id)
end

-- After the scopes of the hold were looked at, so that what is at hand is this run's.
local function put_hold(run, id, hold)
  local holds = at_hand.holds
  at_hand.holds_key = key('run', run, 'holds')
  holds[#holds + 1], holds[#holds + 2] = id, hold
end

-- r: also waits_since. Room that was promised to the run is for the caller to give back.
local function take_hold(run, r, scopes, hold)
  for _, scope in ipairs(scopes) do
    change(scope, 0, hold.amount)
  end
  if r.waits_since then redis.call('HDEL', key('run', run), 'waits_since') end
  put_hold(run, hold.id, 'held ' .. int(hold.amount) .. ' ' .. hold.day)
end

-- A hold ends once: settled, or charged because its worker was lost and corrected if the truth comes later.
-- A repeated settlement changes nothing. Returns the scopes it changed when somebody waits for room, else none:
-- whom to wake is for wake_all_waiters, once the money is written.
local function settle(run, r, settlement)
  local stored = hold_of(run, settlement.hold)
  if not stored then return {} end
  local state, amount, day, charged = string.match(stored, '^(%a+) (%d+) (%S+) ?(%d*)$')
  if state == 'settled' or (state == 'expired' and settlement.expired) then return {} end
  local was_held = state == 'held' and tonumber(amount) or 0
  local was_spent = state == 'expired' and tonumber(charged) or 0
  local somebody_waits = redis.call('EXISTS', key('scopes')) == 1
  local scopes = somebody_waits and scopes_of(r, day) or standings(r, day)
  for _, scope in ipairs(scopes) do
    change(scope, settlement.observed - was_spent, -was_held)
  end
  local to = settlement.expired and 'expired' or 'settled'
  put_hold(run, settlement.hold, to .. ' ' .. amount .. ' ' .. day .. ' ' .. int(settlement.observed))
  return somebody_waits and scopes or {}
end
