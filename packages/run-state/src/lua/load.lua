#!lua flags=allow-oom
--- @include base
--- @include permits
--- @include queue
--- @include putback
--- @include sleep
-- Puts a run back as Postgres has it, in place of whatever is left of it here. Only within a verification, so
-- nobody else writes (Trust) but an abort, whose flag and note are kept, as are other notes.
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
-- Of a record whose seq is garbage the journal says how far it is.
local known = whole(r.seq) or (r.status and redis.call('LLEN', key('run', run, 'events'))) or 0
if known >= h.seq then return 'NEWER' end

if r.status then take_out(run, r)
elseif redis.call('TYPE', key('run', run)).ok ~= 'hash' then redis.call('DEL', key('run', run)) end
put_back(h, r, math.max(h.wake_seq, whole(r.wake_seq) or 0) + 1, 3)
redis.call('HSET', key('run', run), 'held', 0)
-- A waiting run that was asked to stop stands in line: whoever claims it writes its end.
add_to_index(h, h.abort or r.abort, now)
if h.asleep then fall_asleep(run) end
return 'LOADED'
