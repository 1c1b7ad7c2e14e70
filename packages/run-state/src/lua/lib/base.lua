-- Included first by every script.
-- KEYS[1] is the partition root, e.g. "sb:{p0}". Every other key derives from it and so carries the same
-- hash tag: each script stays in one slot of a Redis Cluster (Partitions).
--
-- <root>:run:<id>            HASH  the run record; admitted_ms: since when it is admitted, once it was added again
-- <root>:run:<id>:events     LIST  journal entries; position = seq - 1
-- <root>:run:<id>:contents   HASH  ref -> sealed content
-- <root>:run:<id>:inbox      LIST  notes for the owner (R4)
-- <root>:run:<id>:holds      HASH  hold id -> "state amount day charged"
-- <root>:ready:<tenant>      ZSET  runnable runs by priority, then age
-- <root>:turns               ZSET  tenants with ready runs, whose turn is next
-- <root>:admitted            ZSET  runs given to BullMQ by time; once claimed, at +inf
-- <root>:queued:<rank>       ZSET  all queued runs of a priority, by time
-- <root>:running, :parked    ZSET  runs in that state, by time
-- <root>:asleep              ZSET  parked runs that hibernate, by the time they parked; see sleep.lua
-- <root>:loading             ZSET  hibernated runs that were woken, by when the scheduler is to load them
-- <root>:unrestored          SET   those of them that a verification could not put back; see set_aside.lua
-- <root>:timers              ZSET  parked runs by due time
-- <root>:aborting            ZSET  runs that were asked to stop and did not yet, by when it is looked after them; see repair.lua
-- <root>:leases, :slots      ZSET, HASH  lease -> deadline, lease -> slots
-- <root>:lease:<id>          SET   runs an owner holds
-- <root>:lease:<id>:aborts   SET   those of them that were asked to stop
-- <root>:caps:<tenant>       HASH  caps and concurrency limits; see money.lua and permits.lua
-- <root>:trust               HASH  server, replid (what was verified), incarnation; verifying (token of who does it);
--                                  batches (that Postgres has stored of the audit stream); strange (names of keys
--                                  that were set aside since)
-- <root>:strange:<name>:<ms> what lay there in the place of a key; see strange.lua
-- <root>:strange_walk        STRING  all keys are walked for one of another type, or were in vain; see strange.ts
-- <root>:spend:...:<day>     HASH  spent, held of a day scope; the run scope is in the run record
-- <root>:scopes              SET   scopes with runs that wait for room; see waiters.lua
-- <root>:waiters:<scope>     ZSET  parked runs that wait for room in it, by the time they first had none
-- <root>:idem:<tenant>:<digest>  STRING  "fingerprint run": the request that made it; expires
-- <root>:audit               STREAM  commits on their way to Postgres
-- <root>:leader:<role>       STRING token of the process that leads a role
-- <root>:pressure, :pressured  HASH, ZSET  see pressure.lua
local ROOT = KEYS[1]

-- One concatenation: a script derives dozens of keys.
local function key(a, b, c, d, e)
  if not b then return ROOT .. ':' .. a end
  if not c then return ROOT .. ':' .. a .. ':' .. b end
  if not d then return ROOT .. ':' .. a .. ':' .. b .. ':' .. c end
  if not e then return ROOT .. ':' .. a .. ':' .. b .. ':' .. c .. ':' .. d end
  return ROOT .. ':' .. a .. ':' .. b .. ':' .. c .. ':' .. d .. ':' .. e
end

-- tostring() of a large double is in scientific notation, which HINCRBY refuses, as it does "-0".
local function int(n)
  return string.format('%.0f', n + 0)
end

-- For lists of any length: unpack() fails when some thousand values do not fit on Lua's stack.
local function append(list, values)
  for _, value in ipairs(values) do
    list[#list + 1] = value
  end
  return list
end

-- A count as a record has it, exact in a double; nil where it is garbage, or missing.
local function whole(text)
  local n = string.find(text or '', '^%d+$') and tonumber(text)
  return n and n < 2 ^ 53 and n or nil
end

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function is_terminal(status)
  return status == 'succeeded' or status == 'failed' or status == 'aborted'
end

-- Named fields of a run record; nil where the record or a field is missing. What is no hash is no record: a script of
-- many runs must not break at it.
local function record(run, fields)
  local values = redis.pcall('HMGET', key('run', run), unpack(fields))
  local r = {}
  if values.err then return r end
  for i, field in ipairs(fields) do
    r[field] = values[i] or nil
  end
  return r
end

-- The next activation of a run is another. What is garbage becomes the time: more than any count, so no older one fits.
local function next_wake_seq(run)
  local n = redis.pcall('HINCRBY', key('run', run), 'wake_seq', 1)
  if type(n) == 'table' or not whole(int(n)) then
    n = now_ms()
    redis.call('HSET', key('run', run), 'wake_seq', int(n))
  end
  return int(n)
end

local function wake_seq_of(run, r)
  return whole(r.wake_seq) and r.wake_seq or next_wake_seq(run)
end

local function has_user(r)
  return r.user and r.user ~= ''
end

-- The key of a scope of cost a run counts in; `day` is the tenant's day, and its month follows from it.
local function scope_key(name, r, day)
  local month = string.sub(day, 1, 7)
  if name == 'run' then return key('run', r.root) end
  if name == 'user_day' then return key('spend', 'user', r.tenant, day, r.user) end
  if name == 'user_month' then return key('spend', 'user_month', r.tenant, month, r.user) end
  if name == 'tenant_day' then return key('spend', 'tenant', r.tenant, day) end
  return key('spend', 'tenant_month', r.tenant, month)
end

-- A scope counts until its day or month is over, everywhere on earth; after that only Postgres is asked.
local DAY_TTL_SECONDS = 40 * 24 * 3600
local MONTH_TTL_SECONDS = 70 * 24 * 3600

-- From when something is first spent or held in a scope of a day or month.
local function expire_spend(scope)
  local is_month = string.find(scope, '^spend:%a+_month:', #ROOT + 2)
  redis.call('EXPIRE', scope, is_month and MONTH_TTL_SECONDS or DAY_TTL_SECONDS)
end

-- Where nothing is spent, held or promised, no key says the same: users are made up faster than their days expire.
local function forget_unused(scope)
  for _, amount in ipairs(redis.call('HMGET', scope, 'spent', 'held', 'promised')) do
    if amount and tonumber(amount) ~= 0 then return end
  end
  redis.call('DEL', scope)
end

-- In front of the scope's name: behind it, it would be the scope of a user whose id ends so.
local function waiters_key(scope)
  return key('waiters', string.sub(scope, #ROOT + 2))
end

local function lease_is_live(lease, now)
  if not lease then return false end
  local deadline = redis.call('ZSCORE', key('leases'), lease)
  return deadline and tonumber(deadline) > now
end

-- Trust: what a server holds counts only after the scheduler verified it against Postgres. A server
-- that restarted or was restored has another run_id than the marker names; a replica that became master has another
-- replication id, also one that was master before and took over older data without a restart.
-- Looks for the marked ids instead of reading the server's, which in each script would be the dearer search.
local function is_server(run_id, replid)
  local info = redis.call('INFO', 'server', 'replication')
  return string.find(info, '\nrun_id:' .. run_id .. '\r', 1, true) ~= nil
    and string.find(info, '\nmaster_replid:' .. replid .. '\r', 1, true) ~= nil
end

-- Beyond it the epochs of an incarnation would not be exact in a double.
local MOST_INCARNATIONS = 2 ^ 21

local function is_trusted()
  local marked = redis.call('HMGET', key('trust'), 'server', 'replid', 'incarnation')
  local incarnation = tonumber(marked[3])
  return incarnation and incarnation < MOST_INCARNATIONS and marked[1] and marked[2]
    and is_server(marked[1], marked[2])
end

-- Whoever began a verification last may restore; a flush, or another who began, ends it.
local function is_verifying(token)
  return redis.call('HGET', key('trust'), 'verifying') == token
end
