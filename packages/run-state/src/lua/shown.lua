#!lua flags=no-writes,allow-oom
--- @include base
-- A run as a view shows it, at one instant: its journal, what was submitted and what it answered last. Of a long run
-- nearly all that is stored is other contents. Whoever knows the journal up to some entry gets that one again, to
-- compare it with what he knows, and those behind it.
-- KEYS[1] partition root
-- ARGV[1] run
-- ARGV[2] seq of the last known entry, 0: none; with it
-- ARGV[3] ref of what was submitted, ARGV[4] ref of the last answer up to there; may be empty
-- ARGV[5..] fields of its record
-- returns [values of the record, entries, [ref, sealed]...]
local run = ARGV[1]
local known = tonumber(ARGV[2])
local values = redis.call('HMGET', key('run', run), unpack(ARGV, 5))
local entries = redis.call('LRANGE', key('run', run, 'events'), math.max(known - 1, 0), -1)

local function refs_of(entry)
  return cjson.decode(string.sub(entry, 65)).refs or {}
end

-- The text of a body may hold the words elsewhere, so what is found is looked at.
local function is_answer(entry)
  return string.find(entry, '"type":"llm.completed"', 65, true)
    and cjson.decode(string.sub(entry, 65)).type == 'llm.completed'
end

local function last_answer()
  for i = #entries, 1, -1 do
    if is_answer(entries[i]) then return refs_of(entries[i]).output end
  end
  return ARGV[4]
end

local refs = {}
local function want(ref)
  if ref and ref ~= '' then refs[#refs + 1] = ref end
end
if entries[1] then
  want(known > 0 and ARGV[3] or refs_of(entries[1]).submission)
  want(last_answer())
end

local contents = {}
for i, sealed in ipairs(#refs == 0 and {} or redis.call('HMGET', key('run', run, 'contents'), unpack(refs))) do
  if sealed then append(contents, { refs[i], sealed }) end
end
return { values, entries, contents }
