#!lua flags=allow-oom
--- @include base
--- @include pressure
--- @include permits
--- @include queue
--- @include admission
--- @include putback
--- @include money
-- Puts a hibernated run that was woken back as Postgres has it, and makes it runnable; or one that a verification could
-- not put back, which waits on if it did. Its notes wait in the inbox; what it counts as a scope, and room it was
-- promised, stay.
-- KEYS[1] partition root
-- ARGV[1] header (JSON): as of load.lua
-- ARGV[2..] entries, then [hold id, value]..., then [ref, sealed]...
-- returns [LOADED, activation...] | [BEHIND] (Postgres has less than was here) | [GONE] (it is not loading, or not
--         any more) | [PRESSURE] (it would only wait here, unless it is to stop; R9) | [UNTRUSTED]
local h = cjson.decode(ARGV[1])
local now = now_ms()
if not is_trusted() then return { 'UNTRUSTED' } end
local r = record(h.run, { 'asleep', 'seq', 'epoch', 'wake_seq', 'abort', 'tenant', 'user', 'root' })
if not r.asleep or not redis.call('ZSCORE', key('loading'), h.run) then return { 'GONE' } end
if h.seq < (whole(r.seq) or 0) then return { 'BEHIND' } end
if not r.abort and not pressure(now).at_ease then return { 'PRESSURE' } end

-- Only one that was set aside holds anything, and what it really holds is known from here on.
local function count_held(sign)
  for _, hold in ipairs(redis.call('HVALS', key('run', h.run, 'holds'))) do
    local amount, day = string.match(hold, '^held (%d+) (%S+)')
    for _, scope in ipairs(amount and scope_keys(r, day) or {}) do
      add(scope, 'held', sign * amount)
    end
  end
end

count_held(-1)
put_back(h, r, math.max(whole(r.wake_seq) or 0, h.wake_seq + 1), 2)
count_held(1)
add_to_index(h, h.abort or r.abort or redis.call('EXISTS', key('run', h.run, 'inbox')) == 1, now)
return append({ 'LOADED' }, admit(now))
