--- @include base
--- @include queue
--- @include journal
-- Creates a run, its first event, its idempotency record and its place in the queue, or nothing of them.
-- KEYS[1] partition root
-- ARGV[1] header (JSON): run, tenant, user, agent, root, rank, cap (nano or "inf"), key (wrapped), due_ms?,
--         idem? (key digest), fingerprint, idem_ttl_ms, backlog_limit
-- ARGV[2] entry of run.submitted
-- ARGV[3..] ref, sealed, ...
-- returns [CREATED, run, activation...] | [EXISTS, run] | [MISMATCH, run] | [BACKLOG, length]
local h = cjson.decode(ARGV[1])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end

if h.idem then
  local known = redis.call('GET', key('idem', h.tenant, h.idem))
  if known then
    local fingerprint, run = string.match(known, '^(%S+) (%S+)$')
    return { fingerprint == h.fingerprint and 'EXISTS' or 'MISMATCH', run }
  end
end
-- A command resent after a lost reply finds its own run.
if redis.call('EXISTS', key('run', h.run)) == 1 then return { 'EXISTS', h.run } end

local backlog = redis.call('XLEN', key('audit'))
if backlog >= h.backlog_limit then return { 'BACKLOG', int(backlog) } end

if h.idem then
  redis.call('SET', key('idem', h.tenant, h.idem), h.fingerprint .. ' ' .. h.run, 'PX', int(h.idem_ttl_ms))
end
redis.call('HSET', key('run', h.run),
  'tenant', h.tenant, 'user', h.user, 'agent', h.agent, 'root', h.root, 'rank', h.rank,
  'cap', h.cap, 'key', h.key, 'epoch', 0, 'seq', 0, 'wake_seq', 1, 'claims', 0, 'created_ms', int(now))

local contents = {}
for i = 3, #ARGV do
  contents[#contents + 1] = ARGV[i]
end
write(h.run, h, { ARGV[2] }, contents, h.key)

if h.due_ms then
  redis.call('HSET', key('run', h.run), 'status', 'waiting', 'reason', 'timer')
  redis.call('ZADD', key('parked'), int(now), h.run)
  redis.call('ZADD', key('timers'), int(h.due_ms), h.run)
else
  enqueue(h.run, h.tenant, h.rank, now)
end
return append({ 'CREATED', h.run }, admit(now))
