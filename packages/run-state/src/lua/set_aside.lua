#!lua flags=allow-oom
--- @include base
--- @include permits
--- @include queue
--- @include putback
-- Takes a run out of play of which Postgres has more than is here, and which could not be put back: nobody goes on
-- with the older journal (R6). It becomes one that hibernates and was woken, so that it is loaded as soon as it can
-- be (R10) and a stop that is asked for is kept. Only within a verification; what it holds still counts.
-- KEYS[1] partition root
-- ARGV[1] token of the verification
-- ARGV[2] header (JSON): run, tenant, user, agent, root, rank, cap, epoch, seq, status, created (RFC 3339), session?
-- ARGV[3..] [hold id, value]... as Postgres knows them; others here stay
-- returns ASIDE | ENDED (it has, and is whole here) | OVERTAKEN (nothing was done)
if not is_verifying(ARGV[1]) then return 'OVERTAKEN' end
local h = cjson.decode(ARGV[2])
local run, own = h.run, key('run', h.run)
local r = record(run, { 'status', 'owner', 'seq', 'epoch', 'wake_seq', 'tenant', 'user', 'rank' })
if is_terminal(r.status) and (whole(r.seq) or 0) >= h.seq then return 'ENDED' end

if r.status then take_out(run, r) end
redis.call('UNLINK', key('run', run, 'events'), key('run', run, 'contents'))
for i = 3, #ARGV, 2 do
  redis.call('HSET', key('run', run, 'holds'), ARGV[i], ARGV[i + 1])
end
redis.call('HDEL', own, 'asleep', 'reason', 'key', 'head', 'claims', 'stored_seq', 'queued_ms', 'created_ms')
redis.call('HSET', own, 'tenant', h.tenant, 'user', h.user, 'agent', h.agent, 'root', h.root, 'rank', h.rank,
  'cap', h.cap, 'epoch', int(math.max(h.epoch, whole(r.epoch) or 0)), 'seq', h.seq,
  'wake_seq', int((whole(r.wake_seq) or 0) + 1), 'status', h.status)
if is_terminal(h.status) then
  forget_ended(run)
  redis.call('ZREM', key('loading'), run)
  redis.call('SREM', key('unrestored'), run)
else
  redis.call('HSET', own, 'status', 'waiting', 'asleep', 1, 'created', h.created)
  if h.session then redis.call('HSET', own, 'session', h.session) end
  redis.call('ZADD', key('loading'), int(now_ms()), run)
  redis.call('SADD', key('unrestored'), run)
end
return 'ASIDE'
