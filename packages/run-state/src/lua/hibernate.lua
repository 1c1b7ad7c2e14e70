#!lua flags=allow-oom
--- @include base
--- @include sleep
-- Puts parked runs to sleep whose journals Postgres was seen to have whole. One that was woken, or went on, since
-- then stays as it is.
-- KEYS[1] partition root
-- ARGV[1..] run, wake_seq, seq, head, ... as Postgres was asked about them
-- returns [OK, run...] those that sleep now | [UNTRUSTED]
if not is_trusted() then return { 'UNTRUSTED' } end
local asleep = { 'OK' }
for i = 1, #ARGV, 4 do
  local run = ARGV[i]
  local r = record(run, { 'status', 'wake_seq', 'seq', 'head' })
  local same = r.wake_seq == ARGV[i + 1] and r.seq == ARGV[i + 2] and r.head == ARGV[i + 3]
  if same and r.status == 'waiting' and fall_asleep(run) then asleep[#asleep + 1] = run end
end
return asleep
