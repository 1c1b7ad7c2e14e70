-- Puts a run back as Postgres has it. Included after queue.
-- h: run, tenant, user, agent, root, rank, cap, key?, epoch, seq, head, created_ms, status, reason?, due_ms?,
--    parked_ms?, abort? (flag), entries (number), holds (number)
-- ARGV[first..] entries, then [hold id, value]..., then [ref, sealed]...

-- Out of all indexes, and from its owner.
local function take_out(run, r)
  if r.owner then release(run, r, r.owner) end
  make_room(run, r)
  leave_queue(run, r)
  leave_waiting(run)
  forget_promise(run)
end

local function put_back(h, r, wake_seq, first)
  local run = h.run
  redis.call('DEL', key('run', run, 'events'), key('run', run, 'contents'), key('run', run, 'holds'))
  local at = first
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
  redis.call('HDEL', key('run', run), 'asleep', 'session', 'created', 'key')
  redis.call('ZREM', key('loading'), run)
  redis.call('SREM', key('unrestored'), run)
  redis.call('HSET', key('run', run),
    'tenant', h.tenant, 'user', h.user, 'agent', h.agent, 'root', h.root, 'rank', h.rank, 'cap', h.cap,
    'epoch', int(math.max(h.epoch, whole(r.epoch) or 0)), 'seq', h.seq, 'head', h.head, 'stored_seq', h.seq,
    'wake_seq', int(wake_seq), 'claims', 0, 'created_ms', int(h.created_ms), 'status', h.status)
  -- Without one what was said is erased.
  if h.key then redis.call('HSET', key('run', run), 'key', h.key) end
  if h.abort and not r.abort then redis.call('HSET', key('run', run), 'abort', cjson.encode(h.abort)) end
  if (h.abort or r.abort) and not is_terminal(h.status) then
    redis.call('ZADD', key('aborting'), int(now_ms()), run)
  end
end

-- Its end is known to Postgres; here it only has to refuse a late owner for a while (R7).
local ENDED_TTL_SECONDS = 3600

local function forget_ended(run)
  redis.call('DEL', key('run', run, 'inbox'))
  redis.call('ZREM', key('aborting'), run)
  for _, part in ipairs({ 'events', 'contents', 'holds' }) do
    redis.call('EXPIRE', key('run', run, part), ENDED_TTL_SECONDS)
  end
  redis.call('EXPIRE', key('run', run), ENDED_TTL_SECONDS)
end

-- Adds it to the index of its state. `is_told`: something happened that its next owner must see.
local function add_to_index(h, is_told, now)
  local run = h.run
  if is_terminal(h.status) then
    forget_ended(run)
  elseif h.status == 'waiting' and not is_told then
    redis.call('HSET', key('run', run), 'reason', h.reason)
    redis.call('ZADD', key('parked'), int(math.min(h.parked_ms or now, now)), run)
    if h.due_ms then redis.call('ZADD', key('timers'), int(h.due_ms), run) end
  else
    enqueue(run, h.tenant, h.rank, now)
  end
end
