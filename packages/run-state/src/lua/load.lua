#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include queue
--- @include putback
--- @include sleep
-- Puts a run back as Postgres has it, in place of whatever is left of it here. Only within a verification, so
-- nobody else writes (design §6) but an abort, whose flag and note are kept, as are other notes.
-- KEYS[1] partition root
-- ARGV[1] token of the verification
-- ARGV[2] header (JSON): run, tenant, user, agent, root, rank, cap, key?, epoch, seq, head, wake_seq, created_ms,
--         status, reason?, due_ms?, parked_ms?, asleep? (it hibernates at once), abort? (flag), entries (number),
--         holds (number)
-- ARGV[3..] entries, then [hold id, value]..., then [ref, sealed]...
-- returns LOADED | NEWER (the run here is not behind) | OVERTAKEN (nothing was done)
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
put_back(h, r, math.max(h.wake_seq, tonumber(r.wake_seq or 0)) + 1, 3)
redis.call('HSET', key('run', run), 'held', 0)
if h.abort and not r.abort then redis.call('HSET', key('run', run), 'abort', cjson.encode(h.abort)) end

if h.status == 'waiting' and not (h.abort or r.abort) then
  redis.call('HSET', key('run', run), 'reason', h.reason)
  redis.call('ZADD', key('parked'), int(math.min(h.parked_ms or now, now)), run)
  if h.due_ms then redis.call('ZADD', key('timers'), int(h.due_ms), run) end
  if h.asleep then fall_asleep(run) end
elseif not is_terminal(h.status) then
  -- Also a waiting run that was asked to stop: whoever claims it writes its end.
  enqueue(run, h.tenant, h.rank, now)
else
  forget_ended(run)
end
return 'LOADED'
