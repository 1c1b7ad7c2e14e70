-- The journal and its copy for the audit-writer are written together: what is acted on is audited (R9).

-- One entry of the audit stream. entries: "<hash><body>"; contents: [ref, sealed, ...]; wrapped_key only with a run's
-- first event.
local function tell_writer(run, r, entries, contents, wrapped_key)
  local fields = { 'r', run, 't', r.tenant, 'u', r.user or '', 'a', r.agent or '', 'o', r.root }
  if wrapped_key then
    fields[#fields + 1] = 'k'
    fields[#fields + 1] = wrapped_key
  end
  for _, entry in ipairs(entries) do
    fields[#fields + 1] = 'e'
    fields[#fields + 1] = entry
  end
  for i = 1, #contents, 2 do
    fields[#fields + 1] = 'c'
    fields[#fields + 1] = contents[i] .. ' ' .. contents[i + 1]
  end
  redis.call('XADD', key('audit'), '*', unpack(fields))
end

-- As tell_writer. Brings r.seq and r.head up to date.
local function write(run, r, entries, contents, wrapped_key)
  if #entries == 0 then return end
  if #contents > 0 then redis.call('HSET', key('run', run, 'contents'), unpack(contents)) end
  redis.call('RPUSH', key('run', run, 'events'), unpack(entries))
  r.seq, r.head = r.seq + #entries, string.sub(entries[#entries], 1, 64)
  redis.call('HSET', key('run', run), 'seq', r.seq, 'head', r.head)
  tell_writer(run, r, entries, contents, wrapped_key)
end

local function notes_of(run)
  return redis.call('LRANGE', key('run', run, 'inbox'), 0, -1)
end
