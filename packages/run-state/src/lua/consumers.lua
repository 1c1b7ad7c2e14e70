#!lua flags=allow-oom
--- @include base
-- Forgets the other consumers of the audit stream that have nothing pending: each start of an audit-writer makes a
-- new one. A script, because an entry that is handed to one between the look and XGROUP DELCONSUMER would never be
-- delivered again (R8).
-- KEYS[1] partition root
-- ARGV[1] group  [2] the consumer that stays
-- returns number of consumers forgotten
local stream, forgotten = key('audit'), 0
local known = redis.pcall('XINFO', 'CONSUMERS', stream, ARGV[1])
if known.err then return 0 end
for _, flat in ipairs(known) do
  local consumer = {}
  for i = 1, #flat, 2 do
    consumer[flat[i]] = flat[i + 1]
  end
  if consumer.name ~= ARGV[2] and consumer.pending == 0 then
    redis.call('XGROUP', 'DELCONSUMER', stream, ARGV[1], consumer.name)
    forgotten = forgotten + 1
  end
end
return forgotten
