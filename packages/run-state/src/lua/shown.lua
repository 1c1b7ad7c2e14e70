#!lua flags=no-writes,allow-oom
--- @include base
-- A run as a view shows it, at one instant: its journal, what was submitted and what it answered last. Of a long run
-- nearly all that is stored is other contents.
-- KEYS[1] partition root
-- ARGV[1] run
-- ARGV[2..] fields of its record
-- returns [values of the record, entries, [ref, sealed]...]
local run = ARGV[1]
local values = redis.call('HMGET', key('run', run), unpack(ARGV, 2))
local entries = redis.call('LRANGE', key('run', run, 'events'), 0, -1)

local function event(entry)
  return cjson.decode(string.sub(entry, 65))
end

-- The text of a body may hold the words elsewhere, so what is found is looked at.
local function last_answer()
  for i = #entries, 1, -1 do
    if string.find(entries[i], '"type":"llm.completed"', 65, true) then
      local found = event(entries[i])
      if found.type == 'llm.completed' then return found end
    end
  end
end

local refs = {}
local function want(ref)
  if ref then refs[#refs + 1] = ref end
end
if entries[1] then
  want((event(entries[1]).refs or {}).submission)
  local answer = last_answer()
  want(answer and (answer.refs or {}).output)
end

local contents = {}
for i, sealed in ipairs(#refs == 0 and {} or redis.call('HMGET', key('run', run, 'contents'), unpack(refs))) do
  if sealed then append(contents, { refs[i], sealed }) end
end
return { values, entries, contents }
