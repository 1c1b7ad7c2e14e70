#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include queue
--- @include putback
-- Puts a hibernated run that was woken back as Postgres has it, and makes it runnable. Its notes wait in the inbox;
-- what it counts as a scope, and room it was promised, stay.
-- KEYS[1] partition root
-- ARGV[1] header (JSON): run, tenant, user, agent, root, rank, cap, key?, epoch, seq, head, created_ms, status,
--         entries (number), holds (number)
-- ARGV[2..] entries, then [hold id, value]..., then [ref, sealed]...
-- returns [LOADED, activation...] | [BEHIND] (Postgres has less than was here) | [GONE] (it is not loading, or not
--         any more) | [PRESSURE] (it would only wait here, unless it is to stop; R9) | [UNTRUSTED]
local h = cjson.decode(ARGV[1])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local r = record(h.run, { 'asleep', 'seq', 'epoch', 'wake_seq', 'abort' })
if not r.asleep or not redis.call('ZSCORE', key('loading'), h.run) then return { 'GONE' } end
if h.seq < tonumber(r.seq) then return { 'BEHIND' } end
if not r.abort and not pressure(now).at_ease then return { 'PRESSURE' } end

put_back(h, r, tonumber(r.wake_seq), 2)
if is_terminal(h.status) then forget_ended(h.run) else enqueue(h.run, h.tenant, h.rank, now) end
return append({ 'LOADED' }, admit(now))
