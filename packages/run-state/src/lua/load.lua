--- @include base
--- @include queue
-- Puts a run back as Postgres has it, in place of whatever is left of it here. Only within a verification, so
-- nobody else writes (design §6) but an abort, whose flag and note are kept, as are other notes.
-- KEYS[1] partition root
-- ARGV[1] token of the verification
-- ARGV[2] header (JSON): run, tenant, user, agent, root, rank, cap, key, epoch, seq, head, wake_seq, created_ms,
--         status, reason?, due_ms?, abort? (flag), entries (number), holds (number)
-- ARGV[3..] entries, then [hold id, value]..., then [ref, sealed]...
-- returns LOADED | NEWER (the run here is not behind) | OVERTAKEN (nothing was done)
local ENDED_TTL_SECONDS = 3600

if not is_verifying(ARGV[1]) then return 'OVERTAKEN' end
local h = cjson.decode(ARGV[2])
local now = now_ms()
local run = h.run
local r = record(run, { 'status', 'owner', 'seq', 'epoch', 'wake_seq', 'tenant', 'user', 'rank', 'abort' })
if r.seq and tonumber(r.seq) >= h.seq then return 'NEWER' end

if r.status then
  if r.owner then release(run, r, r.owner) end
  make_room(run, r)
  leave_queue(run, r)
  leave_waiting(run)
  forget_promise(run)
end
redis.call('DEL', key('run', run, 'events'), key('run', run, 'contents'), key('run', run, 'holds'))

local at = 3
for _ = 1, h.entries do
  redis.call('RPUSH', key('run', run, 'events'), ARGV[at])
  at = at + 1
end
for _ = 1, h.holds do
  redis.call('HSET', key('run', run, 'holds'), ARGV[at], ARGV[at + 1])
  at = at + 2
end
for i = at, #ARGV, 2 do
  redis.call('HSET', key('run', run, 'contents'), ARGV[i], ARGV[i + 1])
end

redis.call('HSET', key('run', run),
  'tenant', h.tenant, 'user', h.user, 'agent', h.agent, 'root', h.root, 'rank', h.rank, 'cap', h.cap, 'key', h.key,
  'epoch', int(math.max(h.epoch, tonumber(r.epoch or 0))), 'seq', h.seq, 'head', h.head, 'stored_seq', h.seq,
  'wake_seq', int(math.max(h.wake_seq, tonumber(r.wake_seq or 0)) + 1), 'claims', 0,
  'created_ms', int(h.created_ms), 'status', h.status, 'held', 0)
if h.abort and not r.abort then redis.call('HSET', key('run', run), 'abort', cjson.encode(h.abort)) end

if h.status == 'waiting' and not (h.abort or r.abort) then
  redis.call('HSET', key('run', run), 'reason', h.reason)
  redis.call('ZADD', key('parked'), int(now), run)
  if h.due_ms then redis.call('ZADD', key('timers'), int(h.due_ms), run) end
elseif not is_terminal(h.status) then
  -- Also a waiting run that was asked to stop: whoever claims it writes its end.
  enqueue(run, h.tenant, h.rank, now)
else
  -- Its end is known to Postgres; here it only has to refuse a late owner for a while (R7).
  redis.call('DEL', key('run', run, 'inbox'))
  for _, part in ipairs({ 'events', 'contents', 'holds' }) do
    redis.call('EXPIRE', key('run', run, part), ENDED_TTL_SECONDS)
  end
  redis.call('EXPIRE', key('run', run), ENDED_TTL_SECONDS)
end
return 'LOADED'
