#!lua flags=allow-oom
--- @include base
--- @include pressure
-- Postgres has a run's journal up to a seq. The keys of a run that has ended and is stored whole expire.
-- KEYS[1] partition root
-- ARGV[1] seconds to keep an ended run (fewer when memory gets short)  [2..] run, seq, ...
-- returns number of runs that will expire
if not is_trusted() then return { 'UNTRUSTED' } end
local ttl, ending = seconds_to_keep(tonumber(ARGV[1]), now_ms()), 0
for i = 2, #ARGV, 2 do
  local run, seq = ARGV[i], tonumber(ARGV[i + 1])
  local r = record(run, { 'status', 'seq', 'stored_seq' })
  if r.status then
    if seq > (tonumber(r.stored_seq) or 0) then redis.call('HSET', key('run', run), 'stored_seq', seq) end
    if is_terminal(r.status) and seq >= (tonumber(r.seq) or math.huge) then
      ending = ending + 1
      redis.call('EXPIRE', key('run', run), ttl)
      for _, part in ipairs({ 'events', 'contents', 'inbox', 'holds' }) do
        redis.call('EXPIRE', key('run', run, part), ttl)
      end
    end
  end
end
return ending
