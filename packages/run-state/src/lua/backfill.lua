#!lua flags=allow-oom
--- @include base
--- @include journal
-- Hands events of a run to the audit-writer once more, because Postgres lost them. Only within a verification.
-- KEYS[1] partition root
-- ARGV[1] token of the verification  [2] run  [3] seq behind which Postgres has nothing
-- returns the seq up to which they are handed over now: of a long journal a part at a time; ARGV[3] when no more is here
--         (a run that hibernates has its journal in Postgres alone) | "OVERTAKEN"
if not is_verifying(ARGV[1]) then return 'OVERTAKEN' end
local run, from = ARGV[2], tonumber(ARGV[3])
local MOST_EVENTS, MOST_BYTES = 20, 2 ^ 19
local r = record(run, { 'tenant', 'user', 'agent', 'root', 'key' })

-- A damaged one is the audit-writer's to judge.
local function refs_of(entry)
  local readable, event = pcall(cjson.decode, string.sub(entry, 65))
  return readable and type(event) == 'table' and type(event.refs) == 'table' and event.refs or {}
end

local entries, contents, bytes = {}, {}, 0
for _, entry in ipairs(redis.call('LRANGE', key('run', run, 'events'), from, from + MOST_EVENTS - 1)) do
  if bytes > MOST_BYTES then break end
  entries[#entries + 1] = entry
  bytes = bytes + #entry
  for _, ref in pairs(refs_of(entry)) do
    local sealed = redis.call('HGET', key('run', run, 'contents'), ref)
    if sealed then
      append(contents, { ref, sealed })
      bytes = bytes + #sealed
    end
  end
end
if #entries > 0 then tell_writer(run, r, entries, contents, from == 0 and r.key or nil) end
return from + #entries
