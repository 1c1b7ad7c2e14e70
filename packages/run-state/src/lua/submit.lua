--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include admission
--- @include journal
-- Creates a run, its first events, its idempotency record and its entry in the queue, or nothing of them.
-- KEYS[1] partition root
-- ARGV[1] header (JSON): run, tenant, user, agent, root, rank, cap (nano or "inf"), key (wrapped), due_ms?,
--         idem ([{key_digest, fingerprint}...], one per key of the keyring, the current first), idem_ttl_ms,
--         backlog_limit, entries (number)
-- ARGV[2..] entries: run.submitted and, of a fork, the steps it takes over; then ref, sealed, ...
-- returns [CREATED, run, activation...] | [EXISTS, run] | [MISMATCH, run]
--         | [PRESSURE, commits that wait, share of maxmemory in use] (R9)
local h = cjson.decode(ARGV[1])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end

for _, mark in ipairs(h.idem) do
  local known = redis.call('GET', key('idem', h.tenant, mark.key_digest))
  if known then
    local fingerprint, run = string.match(known, '^(%S+) (%S+)$')
    return { fingerprint == mark.fingerprint and 'EXISTS' or 'MISMATCH', run }
  end
end
-- A command resent after a lost reply finds its own run.
if redis.call('EXISTS', key('run', h.run)) == 1 then return { 'EXISTS', h.run } end

-- The api alone is configured with the limit; all scripts go by it.
if redis.call('HGET', key('pressure'), 'backlog_limit') ~= int(h.backlog_limit) then
  redis.call('HSET', key('pressure'), 'backlog_limit', int(h.backlog_limit))
end
local found = pressure(now)
if found.level > 0 then return { 'PRESSURE', int(found.backlog), tostring(found.share) } end

-- Under each of the keys: while a new one comes into use, others have but the old one.
for _, mark in ipairs(h.idem) do
  redis.call('SET', key('idem', h.tenant, mark.key_digest), mark.fingerprint .. ' ' .. h.run, 'PX', int(h.idem_ttl_ms))
end
redis.call('HSET', key('run', h.run),
  'tenant', h.tenant, 'user', h.user, 'agent', h.agent, 'root', h.root, 'rank', h.rank,
  'cap', h.cap, 'key', h.key, 'epoch', 0, 'wake_seq', 1, 'claims', 0, 'created_ms', int(now))

local entries, contents = {}, {}
for i = 2, #ARGV do
  local list = i < 2 + h.entries and entries or contents
  list[#list + 1] = ARGV[i]
end
h.seq = 0
write(h.run, h, entries, contents, h.key)

if h.due_ms then
  redis.call('HSET', key('run', h.run), 'status', 'waiting', 'reason', 'timer')
  redis.call('ZADD', key('parked'), int(now), h.run)
  redis.call('ZADD', key('timers'), int(h.due_ms), h.run)
else
  enqueue(h.run, h.tenant, h.rank, now)
end
return append({ 'CREATED', h.run }, admit(now))
